//! The calls as a billing sees them, over a real connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures_util::future::join_all;
use proto::billing::v1::{
    CreateBillingAccountsResponse, GetBillingAccountRequest, GetBillingAccountResponse,
    billing_service_server::{BillingService, BillingServiceServer},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tonic::{
    Code, Request, Response,
    transport::{Endpoint, Server, server::TcpIncoming},
};

use super::*;
use crate::testing::patient;

const DEADLINE: Duration = Duration::from_secs(20);

/// How the billing that is called takes a call for several accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Opens,
    /// It is of an earlier version.
    DoesNotKnow,
    /// It refuses one of the patients.
    RefusesPatient3,
    Unavailable,
}

/// A billing that answers when it is let, and notes the patients of each call and their traces.
#[derive(Clone)]
struct FakeBilling {
    takes: Takes,
    gate: Arc<Semaphore>,
    calls: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl FakeBilling {
    async fn start(takes: Takes) -> (Self, GrpcBilling) {
        let fake = Self { takes, gate: Arc::new(Semaphore::new(0)), calls: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = BillingServiceServer::new(fake.clone());
        let served = Server::builder().add_service(service);
        tokio::spawn(served.serve_with_incoming(TcpIncoming::from(listener)));
        let channel = Endpoint::from_shared(url).unwrap().connect_lazy();
        (fake, GrpcBilling::new(BillingServiceClient::new(channel)))
    }

    async fn called(&self, patients: impl IntoIterator<Item = (String, String)>) {
        self.calls.lock().unwrap().push(patients.into_iter().collect());
        self.gate.acquire().await.unwrap().forget();
    }

    /// How many patients each call was for.
    fn sizes(&self) -> Vec<usize> {
        self.calls.lock().unwrap().iter().map(BTreeMap::len).collect()
    }
}

#[tonic::async_trait]
impl BillingService for FakeBilling {
    async fn create_billing_account(
        &self,
        request: Request<CreateBillingAccountRequest>,
    ) -> Result<Response<CreateBillingAccountResponse>, Status> {
        let trace = request.metadata().get("traceparent").map(|trace| trace.to_str().unwrap());
        let trace = trace.unwrap_or_default().to_owned();
        let patient = request.into_inner().patient_id;
        self.called([(patient.clone(), trace)]).await;
        if self.takes == Takes::RefusesPatient3 && patient.ends_with('3') {
            return Err(Status::invalid_argument("not this one"));
        }
        Ok(Response::new(opened(&patient)))
    }

    async fn create_billing_accounts(
        &self,
        request: Request<CreateBillingAccountsRequest>,
    ) -> Result<Response<CreateBillingAccountsResponse>, Status> {
        let accounts = request.into_inner().accounts;
        let patients: Vec<_> = accounts
            .into_iter()
            .map(|account| (account.request.unwrap().patient_id, account.traceparent))
            .collect();
        match self.takes {
            Takes::DoesNotKnow => return Err(Status::unimplemented("what?")),
            Takes::RefusesPatient3 => return Err(Status::invalid_argument("not one of these")),
            Takes::Unavailable => return Err(Status::unavailable("not now")),
            Takes::Opens => {}
        }
        self.called(patients.clone()).await;
        let accounts = patients.iter().map(|(patient, _)| opened(patient)).collect();
        Ok(Response::new(CreateBillingAccountsResponse { accounts }))
    }

    async fn get_billing_account(
        &self,
        _: Request<GetBillingAccountRequest>,
    ) -> Result<Response<GetBillingAccountResponse>, Status> {
        Err(Status::not_found("nobody asks"))
    }
}

fn opened(patient: &str) -> CreateBillingAccountResponse {
    CreateBillingAccountResponse {
        account_id: format!("account of {patient}"),
        status: "ACTIVE".to_owned(),
    }
}

/// What comes of asking for the accounts of this many patients at once, each in a trace of its own.
async fn ask(billing: &GrpcBilling, patients: u128) -> Vec<Result<String, Code>> {
    let asked = (1..=patients).map(|n| async move {
        let jane = patient(n);
        let answer = TraceContext::start().scope(billing.create_account(&jane, DEADLINE)).await;
        answer.map(|answer| answer.account_id).map_err(|status| status.code())
    });
    join_all(asked).await
}

fn account_of(n: u128) -> Result<String, Code> {
    Ok(format!("account of {}", patient(n).id))
}

#[tokio::test]
async fn what_is_wanted_alone_has_its_own_call_and_what_comes_meanwhile_shares_the_next() {
    let (fake, billing) = FakeBilling::start(Takes::Opens).await;
    let calls = async |count: usize| {
        while fake.sizes().len() < count {
            tokio::task::yield_now().await;
        }
    };
    let later = async {
        calls(1).await;
        let letting = async {
            calls(3).await;
            fake.gate.add_permits(3);
        };
        tokio::join!(ask(&billing, 39), letting).0
    };
    let (first, others) = tokio::join!(ask(&billing, 1), later);
    assert_eq!(first, [account_of(1)]);
    assert_eq!(others, (1..=39).map(account_of).collect::<Vec<_>>());
    let mut sizes = fake.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 39 - ACCOUNTS_MAX, ACCOUNTS_MAX]);
    // Each patient's in the trace of the request that wants it.
    let calls = fake.calls.lock().unwrap().clone();
    let traces = calls.iter().flat_map(BTreeMap::values).map(|trace| trace[3..35].to_owned());
    assert_eq!(traces.collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn a_billing_of_an_earlier_version_is_asked_for_one_account_after_the_other() {
    let (fake, billing) = FakeBilling::start(Takes::DoesNotKnow).await;
    fake.gate.add_permits(100);
    assert_eq!(ask(&billing, 40).await, (1..=40).map(account_of).collect::<Vec<_>>());
    assert_eq!(fake.sizes(), [1; 40]);
}

#[tokio::test]
async fn a_patient_that_billing_refuses_takes_nobody_along() {
    let (fake, billing) = FakeBilling::start(Takes::RefusesPatient3).await;
    fake.gate.add_permits(100);
    let expected = (1..=8).map(|n| if n == 3 { Err(Code::InvalidArgument) } else { account_of(n) });
    assert_eq!(ask(&billing, 8).await, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_billing_that_is_not_available_is_so_for_all_who_share_a_call() {
    let (fake, billing) = FakeBilling::start(Takes::Unavailable).await;
    fake.gate.add_permits(100);
    let answers = ask(&billing, 40).await;
    let unavailable = answers.iter().filter(|answer| **answer == Err(Code::Unavailable)).count();
    assert_eq!(unavailable + fake.sizes().len(), 40, "none of them was asked for again");
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline() {
    let (_fake, billing) = FakeBilling::start(Takes::Opens).await;
    let jane = patient(1);
    let late = billing.create_account(&jane, Duration::from_millis(20)).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
}
