//! Meshes with default settings that several tests use at the same time: starting one takes longer
//! than most stories do.
//!
//! Anyone who uses one has patients, users and emails of its own, and neither counts what others
//! may add to nor changes what others rely on: demo users, their passwords, keys, settings,
//! processes.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Mutex as AsyncMutex;

use crate::{mesh::Mesh, test_mesh::TestMesh};

static RUNNING: Mutex<Weak<Meshes>> = Mutex::new(Weak::new());

/// A mesh that others may be using, too: nothing can be done to its processes.
pub(crate) struct Shared(TestMesh);

/// The shared ones. Every test that has a mesh, of its own even, has them: so they do not end
/// between two tests that use them, and do with the last test.
#[derive(Default)]
pub(crate) struct Meshes {
    shared: AsyncMutex<Option<Arc<Mesh>>>,
    untouched: AsyncMutex<Option<Arc<Mesh>>>,
}

// === impl Shared ===

impl Deref for Shared {
    type Target = TestMesh;

    fn deref(&self) -> &TestMesh {
        &self.0
    }
}

// === impl TestMesh ===

impl TestMesh {
    /// For stories that add what is their own.
    pub(crate) async fn shared() -> Shared {
        let meshes = Meshes::running();
        started(&meshes.shared).await
    }

    /// For stories that add nothing: the demo's patients and users are there, and nobody else.
    pub(crate) async fn untouched() -> Shared {
        let meshes = Meshes::running();
        started(&meshes.untouched).await
    }
}

// === impl Meshes ===

impl Meshes {
    pub(crate) fn running() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let meshes = Arc::default();
            *running = Arc::downgrade(&meshes);
            meshes
        })
    }
}

/// Started by the first test that asks for it; the others wait.
async fn started(mesh: &AsyncMutex<Option<Arc<Mesh>>>) -> Shared {
    let mut mesh = mesh.lock().await;
    if let Some(mesh) = &*mesh {
        return Shared(TestMesh::of(Arc::clone(mesh)));
    }
    let world = TestMesh::start().await;
    *mesh = Some(world.mesh());
    Shared(world)
}
