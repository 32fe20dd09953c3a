//! Every part as a process of its own, on the embedded stores of one folder.

use crate::{
    certs::{Identity, client},
    grpc::{NOT_SERVING, SERVING, health},
    test_mesh::{RECEPTIONIST, TestMesh, a_patient, until},
};

#[tokio::test]
async fn parts_run_as_processes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let world = TestMesh::of_processes(folder);
    let clerk = world.sign_in(RECEPTIONIST).await;
    let id = clerk.register(&a_patient()).await;
    assert_eq!(clerk.accounts_of(&id).await.len(), 1);
    until("the other processes have heard of it", || async {
        clerk.messages_of(&id).await.iter().any(|message| message["status"] == "SENT")
    })
    .await;
}

#[tokio::test]
async fn grpcs_health_says_when_calls_should_go_elsewhere() {
    let mut world = TestMesh::of_processes(tempfile::tempdir().unwrap());
    let patient = client(&world, Some(&Identity::of(&world, "patient")));
    until("it is served", || async { health(&world, &patient, &[]).await == SERVING }).await;
    // It serves on for a while, for those who have not noticed.
    world.terminate();
    until("it is leaving", || async { health(&world, &patient, &[]).await == NOT_SERVING }).await;
    assert!(world.ended().success());
}
