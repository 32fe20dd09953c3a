//! The demo's users and patients, where the demo is on; and the warnings for operators.

use std::sync::LazyLock;

use anyhow::Context as _;
use prometheus::IntGauge;
use shared_middleware::audit::AuditContext;

use crate::config::Config;

/// Where it is on, everybody may sign in.
const IS_ON: &str =
    "the demo is on: everybody can sign in with its users' password (demo = false turns it off)";
const KEPT: &str = "data of the demo is kept, and not served: `medisync demo remove` takes it out";

static ENABLED: LazyLock<IntGauge> = LazyLock::new(|| {
    let help = "1 where users and patients of the demo are served.";
    prometheus::register_int_gauge!("demo_enabled", help).expect("its name is used once")
});

/// Demo users and patients, where those parts run here.
pub(crate) async fn make(
    auth: Option<&auth::App>,
    patient: Option<&patient::App>,
) -> anyhow::Result<()> {
    let users = async {
        match auth {
            Some(auth) => {
                let made = AuditContext::by_system("user.create").scope(auth.ensure_demo_users());
                made.await.map(drop).context("cannot make demo users")
            }
            None => Ok(()),
        }
    };
    let patients = async {
        match patient {
            Some(patient) => {
                let made =
                    AuditContext::by_system("patient.create").scope(patient.ensure_demo_patients());
                made.await.context("cannot make demo patients")
            }
            None => Ok(()),
        }
    };
    tokio::try_join!(users, patients)?;
    Ok(())
}

/// What an operator should know: wherever the demo is on, and where something of it is left.
pub(crate) async fn warnings(
    config: &Config,
    auth: Option<&auth::App>,
    patient: Option<&patient::App>,
) -> Vec<&'static str> {
    ENABLED.set(i64::from(config.demo));
    let mut warnings = Vec::new();
    if config.demo {
        warnings.push(IS_ON);
    } else if has_any(auth, patient).await {
        warnings.push(KEPT);
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    warnings
}

async fn has_any(auth: Option<&auth::App>, patient: Option<&patient::App>) -> bool {
    let users = match auth {
        Some(auth) => auth.has_demo_users().await.unwrap_or(false),
        None => false,
    };
    let patients = match patient {
        Some(patient) => patient.has_demo_patients().await.unwrap_or(false),
        None => false,
    };
    users || patients
}
