//! Whom we call: billing, by mTLS gRPC, with a deadline, bounded retries and a circuit breaker.

use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use kit::{
    breaker::{Breaker, BreakerConfig},
    client::{Call, call, channel},
    service::Kit,
};
use proto::billing::v1::{
    CreateBillingAccountRequest, billing_service_client::BillingServiceClient,
};
use shared_middleware::{clock::Ids, identity::Part};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, transport::Channel};
use uuid::Uuid;

use crate::domain::Patient;

const PAUSE_FIRST_MS: u64 = 20;
const BREAKER: BreakerConfig = BreakerConfig { failures_max: 3, open_for: Duration::from_secs(2) };

/// Where billing is and how patient we are.
pub(crate) struct BillingConfig {
    pub(crate) urls: Vec<Uri>,
    pub(crate) call: Duration,
    pub(crate) total: Duration,
    pub(crate) tries_max: u32,
}

/// Why there is no account yet. The reconciler asks again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BillingError {
    #[error(transparent)]
    Open(#[from] kit::breaker::Open),
    #[error("billing answered {0}")]
    Status(Code),
    #[error("billing's answer has no account")]
    Answer,
}

/// Opens accounts.
#[async_trait]
pub(crate) trait OpenAccount: Send + Sync {
    /// The patient's account: opened now, or before. Safe to ask any number of times.
    async fn open(&self, patient: &Patient) -> Result<Uuid, BillingError>;
}

/// Billing as it is reached over the mesh.
pub(crate) struct GrpcBilling {
    client: BillingServiceClient<Channel>,
    breaker: Breaker,
    config: BillingConfig,
    ids: Ids,
}

// === impl GrpcBilling ===

impl GrpcBilling {
    pub(crate) fn new(config: BillingConfig, kit: &Kit) -> Self {
        let channel = channel(Part::Billing, config.urls.clone(), kit.tls.clone(), config.call);
        let client = BillingServiceClient::new(channel);
        let breaker = Breaker::new(Part::Billing.as_str(), BREAKER);
        Self { client, breaker, config, ids: kit.ids.clone() }
    }

    async fn try_once(&self, patient: &Patient) -> Result<Uuid, BillingError> {
        self.breaker.admit()?;
        let request = CreateBillingAccountRequest {
            patient_id: patient.id.to_string(),
            name: patient.details.name.as_str().to_owned(),
            email: patient.details.email.as_str().to_owned(),
        };
        let about = Call {
            service: Part::Patient,
            peer: Part::Billing,
            method: "CreateBillingAccount",
            deadline: self.config.call,
        };
        let mut client = self.client.clone();
        let answer =
            call(about, request, async move |request| client.create_billing_account(request).await)
                .await;
        if answer.as_ref().is_err_and(unwell) {
            self.breaker.failed();
        } else {
            self.breaker.succeeded();
        }
        let answer = answer.map_err(|status| BillingError::Status(status.code()))?;
        answer.account_id.parse().map_err(|_| BillingError::Answer)
    }

    /// Twice as long each time, and somewhere in the upper half of that, so that many callers who
    /// failed together do not come back together.
    fn pause(&self, tried: u32) -> Duration {
        let longest_ms = PAUSE_FIRST_MS << tried.min(10);
        let (_, random) = self.ids.next().as_u64_pair();
        Duration::from_millis(longest_ms / 2 + random % (longest_ms / 2))
    }
}

#[async_trait]
impl OpenAccount for GrpcBilling {
    async fn open(&self, patient: &Patient) -> Result<Uuid, BillingError> {
        let until = Instant::now() + self.config.total;
        let mut tried = 1;
        loop {
            let error = match self.try_once(patient).await {
                Ok(account) => return Ok(account),
                Err(error) => error,
            };
            let again = matches!(error, BillingError::Status(code) if may_pass(code));
            let pause = self.pause(tried);
            if !again || tried >= self.config.tries_max || Instant::now() + pause >= until {
                return Err(error);
            }
            tried += 1;
            sleep(pause).await;
        }
    }
}

/// Whether the answer says that billing is not well, rather than that it did not like the question.
fn unwell(status: &Status) -> bool {
    may_pass(status.code()) || matches!(status.code(), Code::Internal | Code::Unknown)
}

const fn may_pass(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
}
