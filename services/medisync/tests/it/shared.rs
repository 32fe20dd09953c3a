//! Meshes with default settings that several tests use at the same time: starting one takes longer
//! than most stories do.
//!
//! Whoever uses one has patients, users and emails of its own, and neither counts what others may
//! add to nor changes what others rely on: demo users, their passwords, keys, settings, processes.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::world::{Mesh, World};

static SHARED: Running = Running::new();
static UNTOUCHED: Running = Running::new();

/// A mesh that others may be using, too: nothing can be done to its processes.
pub(crate) struct Shared(World);

/// A mesh, for as long as any test runs that has one.
struct Running {
    starting: tokio::sync::Mutex<()>,
    mesh: Mutex<Weak<Mesh>>,
}

/// Those that are running now. Whoever has a mesh of its own holds them, too, so that they do not
/// end between two tests that use them.
pub(crate) fn running() -> Vec<Arc<Mesh>> {
    [&SHARED, &UNTOUCHED].into_iter().filter_map(Running::mesh).collect()
}

// === impl Shared ===

impl Deref for Shared {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

// === impl World ===

impl World {
    /// For stories that add what is their own.
    pub(crate) async fn shared() -> Shared {
        SHARED.get().await
    }

    /// For stories that add nothing: the demo's patients and users are there, and nobody else.
    pub(crate) async fn untouched() -> Shared {
        UNTOUCHED.get().await
    }
}

// === impl Running ===

impl Running {
    const fn new() -> Self {
        Self { starting: tokio::sync::Mutex::const_new(()), mesh: Mutex::new(Weak::new()) }
    }

    fn mesh(&self) -> Option<Arc<Mesh>> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    async fn get(&self) -> Shared {
        let _starting = self.starting.lock().await;
        if let Some(mesh) = self.mesh() {
            return Shared(World::of(mesh));
        }
        let world = World::start().await;
        *self.mesh.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&world.mesh());
        Shared(world)
    }
}
