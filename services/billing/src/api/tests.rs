//! Accounts through the routes, gRPC's handlers included.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use kit::{
    page::Cursors,
    testing::{
        TestEngine, TestStore,
        documents::{assert_shown, undocumented},
        engines,
    },
};
use prost::Message as _;
use proto::billing::v1::{
    CreateBillingAccountRequest, CreateBillingAccountsRequest, GetBillingAccountRequest,
    billing_service_client::BillingServiceClient, billing_service_server::BillingService,
    create_billing_accounts_request::Account,
};
use serde_json::Value;
use shared_middleware::clock::{Clock, Ids};
use tonic::Code;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::{
    Api, RULES,
    grpc::{ACCOUNTS_MAX, Calls, MESSAGE_BYTES_MAX, grpc},
    openapi, rest,
};
use crate::store::{Store, migrations};

struct World {
    calls: Calls,
    routes: Router,
    grpc: Router,
    _store: TestStore,
}

async fn world(engine: TestEngine) -> World {
    let store = TestStore::on(engine).await;
    let db = store.open(migrations()).await;
    let cursors = Cursors::open(&db).await.unwrap();
    let (clock, ids) = (Clock::system(), Ids::system());
    let api = Arc::new(Api { store: Store::new(db), cursors, clock, ids });
    let calls = Calls(Arc::clone(&api));
    World { calls, routes: rest(Arc::clone(&api)), grpc: grpc(api).routes, _store: store }
}

impl World {
    async fn open(&self, patient_id: &str, name: &str) -> Result<String, Code> {
        let request = CreateBillingAccountRequest {
            patient_id: patient_id.to_owned(),
            name: name.to_owned(),
            email: "jane@example.com".to_owned(),
        };
        let answer = self.calls.create_billing_account(tonic::Request::new(request)).await;
        answer.map(|answer| answer.into_inner().account_id).map_err(|status| status.code())
    }

    async fn open_all(&self, patients: &[u128]) -> Result<Vec<String>, Code> {
        let accounts = patients.iter().map(|n| wanted(*n)).collect();
        let request = CreateBillingAccountsRequest { accounts };
        let answer = self.calls.create_billing_accounts(tonic::Request::new(request)).await;
        let answer = answer.map_err(|status| status.code())?.into_inner();
        Ok(answer.accounts.into_iter().map(|account| account.account_id).collect())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

fn patient(n: u128) -> String {
    Uuid::from_u128(n).to_string()
}

fn wanted(n: u128) -> Account {
    let request = CreateBillingAccountRequest {
        patient_id: patient(n),
        name: "Jane".to_owned(),
        email: "jane@example.com".to_owned(),
    };
    Account { request: Some(request), traceparent: String::new() }
}

#[tokio::test]
async fn a_patient_has_one_account_however_often_and_fast_it_is_asked_for() {
    for engine in engines() {
        let world = Arc::new(world(engine).await);
        let patient = Uuid::from_u128(1).to_string();
        let asked = (0..16).map(|_| {
            let (world, patient) = (Arc::clone(&world), patient.clone());
            tokio::spawn(async move { world.open(&patient, "Jane").await.unwrap() })
        });
        let mut accounts = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            accounts.push(answer.await.unwrap());
        }
        accounts.dedup();
        assert_eq!(accounts.len(), 1);

        let request = GetBillingAccountRequest { patient_id: patient.clone() };
        let found = world.calls.get_billing_account(tonic::Request::new(request)).await.unwrap();
        assert_eq!(found.into_inner().account_id, accounts[0]);

        let (_, listed) = world.get(&format!("/accounts?patientId={patient}")).await;
        assert_eq!(listed["accounts"][0]["id"], accounts[0].as_str());
        assert_eq!(listed["accounts"][0]["status"], "ACTIVE");
        assert_eq!(listed["accounts"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn accounts_of_one_call_are_those_of_their_patients_in_their_order() {
    for engine in engines() {
        let world = world(engine).await;
        let before = world.open(&patient(2), "Jane").await.unwrap();
        let opened = world.open_all(&[3, 2, 1, 3]).await.unwrap();
        assert_eq!(opened.len(), 4);
        assert_eq!((&opened[1], &opened[0]), (&before, &opened[3]));
        assert_eq!(world.open_all(&[1, 2, 3]).await.unwrap(), [&*opened[2], &before, &opened[0]]);
        assert_eq!(world.open_all(&[]).await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn a_call_for_several_accounts_opens_none_when_one_cannot_be() {
    for engine in engines() {
        let world = world(engine).await;
        let bad = Account { request: None, traceparent: String::new() };
        let accounts = vec![wanted(1), bad];
        let request = CreateBillingAccountsRequest { accounts };
        let refused = world.calls.create_billing_accounts(tonic::Request::new(request)).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        let many: Vec<_> = (1..=ACCOUNTS_MAX as u128 + 1).collect();
        assert_eq!(world.open_all(&many).await, Err(Code::InvalidArgument));
        let (_, listed) = world.get("/accounts").await;
        assert_eq!(listed["accounts"], serde_json::json!([]));
        assert_eq!(world.open_all(&many[1..]).await.unwrap().len(), ACCOUNTS_MAX);
    }
}

#[test]
fn a_call_for_as_many_accounts_as_may_be_is_no_message_that_is_too_long() {
    let mut longest = wanted(1);
    longest.traceparent = "x".repeat(55);
    let request = longest.request.as_mut().unwrap();
    (request.name, request.email) = ("\u{10348}".repeat(254), "x".repeat(254));
    let request = CreateBillingAccountsRequest { accounts: vec![longest; ACCOUNTS_MAX] };
    assert!(request.encoded_len() < MESSAGE_BYTES_MAX, "{}", request.encoded_len());
}

#[tokio::test]
async fn what_is_no_patient_gets_no_account() {
    for engine in engines() {
        let world = world(engine).await;
        let patient = Uuid::from_u128(1).to_string();
        assert_eq!(world.open("1", "Jane").await, Err(Code::InvalidArgument));
        assert_eq!(world.open(&patient, "  ").await, Err(Code::InvalidArgument));
        let request = GetBillingAccountRequest { patient_id: patient };
        let missing = world.calls.get_billing_account(tonic::Request::new(request)).await;
        assert_eq!(missing.unwrap_err().code(), Code::NotFound);
        let (_, listed) = world.get("/accounts").await;
        assert_eq!(listed, serde_json::json!({"accounts": [], "nextCursor": null}));
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_as_the_mesh_refuses_it() {
    for engine in engines() {
        let world = world(engine).await;
        let send = async |name: String| {
            let patient_id = Uuid::from_u128(1).to_string();
            let email = "jane@example.com".to_owned();
            let request = CreateBillingAccountRequest { patient_id, name, email };
            let mut client = BillingServiceClient::new(world.grpc.clone());
            client.create_billing_account(request).await.map_err(|status| status.code())
        };
        let long = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(send(long).await.err(), Some(Code::ResourceExhausted));
        assert_eq!(send("x".repeat(300)).await.err(), Some(Code::InvalidArgument));
        assert!(send("Jane".to_owned()).await.is_ok());
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    for engine in engines() {
        let world = world(engine).await;
        for patient in 1..=25 {
            world.open(&Uuid::from_u128(patient).to_string(), "Jane").await.unwrap();
        }
        let (mut seen, mut query) = (Vec::new(), "/accounts?size=10".to_owned());
        let mut pages = 0;
        loop {
            let (status, page) = world.get(&query).await;
            assert_eq!(status, StatusCode::OK);
            pages += 1;
            let accounts = page["accounts"].as_array().unwrap().clone();
            seen.extend(accounts.iter().map(|account| account["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            query = format!("/accounts?size=10&cursor={next}");
        }
        assert_eq!((pages, seen.len()), (3, 25));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 25);
    }
}

#[tokio::test]
async fn bad_questions_are_told_what_is_wrong() {
    for engine in engines() {
        let world = world(engine).await;
        for query in ["size=0", "size=201", "size=x", "cursor=x", "patientId=1", "other=1"] {
            let (status, _) = world.get(&format!("/accounts?{query}")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        }
        for id in ["1", "00000000-0000-0000-0000-000000000001"] {
            let (status, _) = world.get(&format!("/accounts/{id}")).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{id}");
        }
    }
}

#[test]
fn the_document_tells_how_long_a_page_may_be() {
    let document = serde_json::to_value(openapi()).unwrap();
    let parameters = &document["paths"]["/accounts"]["get"]["parameters"];
    let size = parameters.as_array().unwrap().iter().find(|one| one["name"] == "size").unwrap();
    let schema = &size["schema"];
    let told = [&schema["minimum"], &schema["maximum"], &schema["default"]];
    assert_eq!(told.map(Value::as_f64), [Some(1.0), Some(200.0), Some(20.0)]);
}

#[test]
fn every_documented_operation_has_a_rule_and_tells_its_errors() {
    let mut undocumented = undocumented(&openapi(), RULES);
    // What gRPC is, its own reflection tells.
    undocumented.retain(|operation| !operation.contains(" /grpc.") && !operation.contains(".v1."));
    assert_eq!(undocumented, ["GET /v3/api-docs"]);
    assert_shown(&openapi(), "MediSync billing", "/api/billing");
}
