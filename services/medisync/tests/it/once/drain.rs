//! SIGTERM to a process that holds the whole mesh.

use crate::test_mesh::TestMesh;

#[tokio::test]
async fn where_the_gateway_is_in_the_process_nobody_is_given_time_to_notice() {
    let long = [("MEDISYNC_DRAIN_SECONDS", "600"), ("MEDISYNC_MESH__LEAVE_MS", "600000")];
    let mut world = TestMesh::embedded_with(&long).await;
    world.terminate();
    assert_eq!(world.ended().code(), Some(0));
}
