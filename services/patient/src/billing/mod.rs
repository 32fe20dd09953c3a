//! Whom we call: billing, by mTLS gRPC, with a deadline, bounded retries and a circuit breaker.
//!
//! - here: when billing is called, how often, and when it is left alone;
//! - `calls`: the calls themselves, one for all accounts that are wanted at the same time.

mod calls;

use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use http::Uri;
use kit::{
    breaker::{Breaker, BreakerConfig},
    client::channel,
    service::Kit,
};
use prometheus::{IntCounter, register_int_counter};
use proto::billing::v1::{
    CreateBillingAccountResponse, billing_service_client::BillingServiceClient,
};
use shared_middleware::{back_off::BackOff, identity::Part};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};
use uuid::Uuid;

pub(crate) use self::calls::GrpcBilling;
use crate::domain::Patient;

const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(40), Duration::from_secs(1));
const BREAKER: BreakerConfig = BreakerConfig { failures_max: 3, open_for: Duration::from_secs(2) };

static CONFIRMED: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Accounts that billing has confirmed, in answer to however many calls.";
    register_int_counter!("billing_accounts_confirmed_total", help)
        .expect("the name is registered once")
});

/// Where billing is and how patient we are.
pub(crate) struct BillingConfig {
    pub(crate) urls: Vec<Uri>,
    pub(crate) retry_policy: RetryPolicy,
}

/// How long and how often billing is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// One call takes no longer.
    pub(crate) call: Duration,
    /// All calls and the pauses between them take no longer.
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

/// One call to billing.
#[async_trait]
pub(crate) trait CallBilling: Send + Sync {
    /// Billing's answer, which comes within the deadline or is a failure.
    async fn create_account(
        &self,
        patient: &Patient,
        deadline: Duration,
    ) -> Result<CreateBillingAccountResponse, Status>;
}

/// Asks until there is an answer or no time left; leaves a billing that keeps failing alone.
pub(crate) struct RetryingBilling<C> {
    billing: C,
    breaker: Breaker,
    retry_policy: RetryPolicy,
}

/// Billing as the service uses it.
pub(crate) fn billing(config: BillingConfig, kit: &Kit) -> RetryingBilling<GrpcBilling> {
    let channel = channel(Part::Billing, config.urls, kit.tls.clone(), config.retry_policy.call);
    let billing = GrpcBilling::new(BillingServiceClient::new(channel));
    RetryingBilling::new(billing, config.retry_policy)
}

// === impl RetryingBilling ===

impl<C: CallBilling> RetryingBilling<C> {
    pub(crate) fn new(billing: C, retry_policy: RetryPolicy) -> Self {
        // There from the start, so that a dashboard finds it.
        LazyLock::force(&CONFIRMED);
        let breaker = Breaker::new(Part::Billing.as_str(), BREAKER);
        Self { billing, breaker, retry_policy }
    }

    async fn try_once(&self, patient: &Patient, until: Instant) -> Result<Uuid, BillingError> {
        self.breaker.admit()?;
        let left = until.saturating_duration_since(Instant::now());
        let deadline = self.retry_policy.call.min(left);
        let answer = self.billing.create_account(patient, deadline).await;
        if answer.as_ref().is_err_and(counts_as_failure) {
            self.breaker.failed();
        } else {
            self.breaker.succeeded();
        }
        let answer = answer.map_err(|status| BillingError::Status(status.code()))?;
        answer.account_id.parse().map_err(|_| BillingError::Answer)
    }
}

#[async_trait]
impl<C: CallBilling> OpenAccount for RetryingBilling<C> {
    async fn open(&self, patient: &Patient) -> Result<Uuid, BillingError> {
        let until = Instant::now() + self.retry_policy.total;
        let (mut tried, mut back_off) = (1, BACK_OFF);
        loop {
            let error = match self.try_once(patient, until).await {
                Ok(account) => {
                    CONFIRMED.inc();
                    return Ok(account);
                }
                Err(error) => error,
            };
            let again = matches!(error, BillingError::Status(code) if is_transient(code));
            let pause = back_off.next_pause();
            if !again || tried >= self.retry_policy.tries_max || Instant::now() + pause >= until {
                return Err(error);
            }
            tried += 1;
            sleep(pause).await;
        }
    }
}

/// Whether the answer says that billing is not well, rather than that it did not like the question.
fn counts_as_failure(status: &Status) -> bool {
    is_transient(status.code()) || matches!(status.code(), Code::Internal | Code::Unknown)
}

const fn is_transient(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::testing::patient;

    const PATIENCE: RetryPolicy = RetryPolicy {
        call: Duration::from_millis(500),
        total: Duration::from_millis(1500),
        tries_max: 3,
    };

    /// What billing does when it is called, in order; the last goes on.
    #[derive(Clone, Copy)]
    enum Does {
        Answer,
        Refuse(Code),
        /// Answers nothing until the deadline.
        Sleep,
        Babble,
    }

    #[derive(Clone)]
    struct Scripted {
        script: Arc<Mutex<Vec<Does>>>,
        deadlines: Arc<Mutex<Vec<Duration>>>,
    }

    impl Scripted {
        fn new(script: &[Does]) -> Self {
            let script = Arc::new(Mutex::new(script.iter().rev().copied().collect()));
            Self { script, deadlines: Arc::default() }
        }

        fn insistent(&self) -> RetryingBilling<Self> {
            RetryingBilling::new(self.clone(), PATIENCE)
        }

        fn calls(&self) -> usize {
            self.deadlines.lock().unwrap().len()
        }

        fn next(&self) -> Does {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 { script.pop().unwrap() } else { script[0] }
        }
    }

    #[async_trait]
    impl CallBilling for Scripted {
        async fn create_account(
            &self,
            patient: &Patient,
            deadline: Duration,
        ) -> Result<CreateBillingAccountResponse, Status> {
            self.deadlines.lock().unwrap().push(deadline);
            let account_id = match self.next() {
                Does::Answer => patient.id.to_string(),
                Does::Babble => "account".to_owned(),
                Does::Refuse(code) => return Err(Status::new(code, "Jane Roe")),
                Does::Sleep => {
                    sleep(deadline).await;
                    return Err(Status::deadline_exceeded("late"));
                }
            };
            Ok(CreateBillingAccountResponse { account_id, status: "ACTIVE".to_owned() })
        }
    }

    fn code(result: Result<Uuid, BillingError>) -> Code {
        match result {
            Err(BillingError::Status(code)) => code,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_after_a_pause() {
        let unavailable = Does::Refuse(Code::Unavailable);
        let billing = Scripted::new(&[unavailable, Does::Sleep, Does::Answer]);
        let begun = Instant::now();
        let jane = patient(1);
        assert_eq!(billing.insistent().open(&jane).await.unwrap(), jane.id);
        assert_eq!(billing.calls(), 3);
        // The pauses: 20 to 40 ms, then 40 to 80 ms; the second try took its 500 ms.
        let took = begun.elapsed();
        let (least, most) = (Duration::from_millis(560), Duration::from_millis(630));
        assert!(took >= least && took < most, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_not_tried_again_and_not_quoted() {
        for refused in [Code::InvalidArgument, Code::PermissionDenied, Code::Internal] {
            let billing = Scripted::new(&[Does::Refuse(refused)]);
            let error = billing.insistent().open(&patient(1)).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("Jane"));
            assert_eq!((code(Err(error)), billing.calls()), (refused, 1));
        }
        let babbling = Scripted::new(&[Does::Babble]);
        let answer = babbling.insistent().open(&patient(1)).await;
        assert!(matches!(answer, Err(BillingError::Answer)));
    }

    #[tokio::test(start_paused = true)]
    async fn all_tries_together_take_no_longer_than_they_may() {
        let billing = Scripted::new(&[Does::Sleep]);
        let begun = Instant::now();
        assert_eq!(code(billing.insistent().open(&patient(1)).await), Code::DeadlineExceeded);
        assert!(begun.elapsed() <= PATIENCE.total, "{:?}", begun.elapsed());
        let deadlines = billing.deadlines.lock().unwrap().clone();
        assert_eq!((deadlines.len(), deadlines[0]), (3, PATIENCE.call));
        assert!(deadlines[2] < PATIENCE.call, "only what is left: {:?}", deadlines[2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_billing_that_keeps_failing_is_left_alone_and_then_asked_once() {
        let billing = Scripted::new(&[Does::Refuse(Code::Unavailable)]);
        let insistent = billing.insistent();
        assert_eq!(code(insistent.open(&patient(1)).await), Code::Unavailable);
        assert_eq!(billing.calls(), 3);
        for _ in 0..5 {
            let answer = insistent.open(&patient(1)).await;
            assert!(matches!(answer, Err(BillingError::Open(_))), "{answer:?}");
        }
        assert_eq!(billing.calls(), 3);

        sleep(BREAKER.open_for).await;
        assert!(insistent.open(&patient(1)).await.is_err());
        assert_eq!(billing.calls(), 4);

        sleep(BREAKER.open_for).await;
        *billing.script.lock().unwrap() = vec![Does::Answer];
        for _ in 0..5 {
            insistent.open(&patient(1)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_billing_that_dislikes_the_question_is_well() {
        let billing = Scripted::new(&[Does::Refuse(Code::InvalidArgument)]);
        let insistent = billing.insistent();
        for _ in 0..10 {
            assert_eq!(code(insistent.open(&patient(1)).await), Code::InvalidArgument);
        }
        assert_eq!(billing.calls(), 10);
    }
}
