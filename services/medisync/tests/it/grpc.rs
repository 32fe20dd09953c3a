//! Calls of billing's gRPC port, byte by byte.

use reqwest::Client;
use shared_middleware::clock::Ids;

use crate::test_mesh::TestMesh;

pub(crate) const CREATE: &str = "/medisync.billing.v1.BillingService/CreateBillingAccount";

/// The answers of gRPC's health: `HealthCheckResponse { status }`.
pub(crate) const SERVING: [u8; 2] = [0x08, 1];
pub(crate) const NOT_SERVING: [u8; 2] = [0x08, 2];

/// The id of a patient that nobody has heard of yet.
pub(crate) fn a_patient_id() -> String {
    Ids::system().next().to_string()
}

pub(crate) async fn health(world: &TestMesh, client: &Client, service: &[u8]) -> Vec<u8> {
    let told = grpc(world, client, "/grpc.health.v1.Health/Check", "5S", service).await;
    told.map_or_else(|_| Vec::new(), |told| told[5..].to_vec())
}

/// Calls with a message; the answer's body, or the status of one that was refused in its head.
pub(crate) async fn grpc(
    world: &TestMesh,
    client: &Client,
    path: &str,
    deadline: &str,
    message: &[u8],
) -> Result<Vec<u8>, Option<String>> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let request = client
        .post(format!("{}{path}", world.url("billing gRPC")))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", deadline)
        .body([&[0], &length[..], message].concat());
    let response = request.send().await.unwrap();
    match response.headers().get("grpc-status") {
        Some(status) => Err(Some(status.to_str().unwrap().to_owned())),
        None => Ok(response.bytes().await.unwrap().to_vec()),
    }
}
