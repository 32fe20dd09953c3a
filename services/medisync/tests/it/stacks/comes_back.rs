//! One part that is killed while the others go on, and is started again.

use crate::test_mesh::{RECEPTIONIST, TestMesh, a_patient, until};

#[tokio::test]
async fn billing_that_is_killed_is_missed_by_nobody_who_registers() {
    let mut world = TestMesh::of_parts().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let before = clerk.register(&a_patient()).await;
    world.kill("billing");
    let id = clerk.register(&a_patient()).await;
    let patient = clerk.get(&format!("/api/patients/{id}")).await.json();
    assert_eq!(patient["billing"]["status"], "PENDING");
    world.start_again("billing");
    until("its account is opened", || async {
        let patient = clerk.get(&format!("/api/patients/{id}")).await.json();
        patient["billing"]["status"] == "ACTIVE"
    })
    .await;
    for id in [before, id] {
        let accounts = format!("/api/billing/accounts?patientId={id}");
        until("the gateway asks billing again", || async {
            clerk.get(&accounts).await.status == 200
        })
        .await;
        assert_eq!(clerk.get(&accounts).await.list("accounts").len(), 1);
    }
}

#[tokio::test]
async fn a_patient_service_that_is_killed_loses_nothing_that_it_acknowledged() {
    let mut world = TestMesh::of_parts().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let id = clerk.register(&a_patient()).await;
    let path = format!("/api/patients/{id}");
    world.kill("patient");
    clerk.get(&path).await.refused(503, "unavailable");
    world.start_again("patient");
    until("it is served again", || async { clerk.get(&path).await.status == 200 }).await;
    let told = format!("/api/notifications?patientId={id}");
    until("the welcome is sent, and no second one", || async {
        let told = clerk.get(&told).await.list("notifications").len();
        assert!(told <= 1);
        told == 1
    })
    .await;
}
