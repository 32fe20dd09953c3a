//! The demo: its users and patients where it is on, and how they are taken out.
//!
//! Users carry a mark in auth's store. Patients are known by their ids, which nobody else is given,
//! and so are their accounts, messages and counts. With the demo off nobody of it signs in or is
//! served; `medisync demo remove` takes all of it out. What stays: entries of the audit logs, and
//! events that are in the log already.

use anyhow::Context as _;
use kit::{db::DbError, service::MachineClock};
use shared_middleware::{
    audit::AuditContext,
    clock::{Clock, Ids},
    identity::Part,
};

use crate::{config::Config, context::Context, ops::audit_key, runtime::build_services};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DemoCommand {
    /// Take it out of every store: users, patients, accounts, messages; also of a running mesh
    Remove,
}

/// `medisync demo remove`.
pub(crate) fn command(context: &Context, command: &DemoCommand) -> anyhow::Result<()> {
    let config = context.of_what_is_there()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        DemoCommand::Remove => runtime.block_on(remove(&config)),
    }
}

async fn remove(config: &Config) -> anyhow::Result<()> {
    let key = audit_key::load(&config.audit_key)?;
    let (clock, ids) = (MachineClock::from(Clock::system()), Ids::system());
    let removed = async {
        let patients = config.database(Part::Patient);
        let patients = patient::remove_demo(&patients, &key, &clock, ids.clone()).await;
        let patients = there(patients, Part::Patient, |error| {
            matches!(error, patient::Error::Store(DbError::Absent(_)))
        })?;
        let billing = config.database(Part::Billing);
        let accounts = billing::remove_demo(&billing, &key, &clock).await;
        let accounts = there(accounts, Part::Billing, |error| {
            matches!(error, billing::Error::Store(DbError::Absent(_)))
        })?;
        let messages =
            notification::remove_demo(&build_services::notification_config(config)).await;
        let messages = there(messages, Part::Notification, |error| {
            matches!(error, notification::BuildError::Db(DbError::Absent(_)))
        })?;
        let users =
            match auth::open_app(build_services::auth_config(config), &key, &clock, ids).await {
                Ok(auth) => auth.remove_demo_users().await,
                Err(error) => Err(error),
            };
        let users = there(users, Part::Auth, |error| {
            matches!(error, auth::Error::Store(DbError::Absent(_)))
        })?;
        Ok::<_, anyhow::Error>([
            (users, "users"),
            (patients, "patients"),
            (accounts, "accounts"),
            (messages, "messages"),
        ])
    };
    let removed = AuditContext::by_shell("demo.remove").scope(removed).await?;
    let stores = removed.iter().filter_map(|(count, what)| Some((*count.as_ref()?, *what)));
    let stores: Vec<_> = stores.collect();
    if stores.iter().all(|(count, _)| *count == 0) {
        anyhow::bail!("there is nothing of the demo here (--data-dir says where to look)");
    }
    let told: Vec<_> = stores.iter().map(|(count, what)| format!("{count} {what}")).collect();
    say!("removed of the demo: {}", told.join(", "))?;
    say!("what demo users have made stays: look at `medisync user list`")?;
    Ok(())
}

/// How many were removed from a store; none where that is not here.
fn there<E>(
    removed: Result<u64, E>,
    part: Part,
    is_absent: fn(&E) -> bool,
) -> anyhow::Result<Option<u64>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match removed {
        Ok(count) => Ok(Some(count)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot take the demo out of {part}")),
    }
}
