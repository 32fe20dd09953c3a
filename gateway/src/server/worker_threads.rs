//! The gateway's worker threads: each has its own single-threaded runtime and upstream
//! connections.
//!
//! A client's connection stays on the thread that it was given to, and so does everything that is
//! done for its requests. No task moves from one thread to another and none wakes another thread,
//! which is a good part of what a request costs on a runtime whose threads share their work. The
//! price: a thread whose connections are busy gets no help from one whose connections are not, as
//! with nginx and Envoy.
//!
//! They are the gateway's alone, so that neither a service's busy threads delay the front door,
//! nor a flood at the front door the services; and so that the end of the drain is the end of
//! everything that pingora has spawned.

use std::{io, thread};

use shared_middleware::log_lines;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// Threads, each with its own runtime. They end, with all that runs on them, when this is dropped;
/// nothing waits for that, which an async task must not do.
#[derive(Debug)]
pub(crate) struct WorkerThreads(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
}

// === impl WorkerThreads ===

impl WorkerThreads {
    /// This many, at least one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        (0..count.max(1)).map(|_| Thread::start()).collect::<io::Result<_>>().map(Self)
    }

    /// The runtime of each.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|thread| &thread.runtime)
    }
}

// === impl Thread ===

impl Thread {
    fn start() -> io::Result<Self> {
        // Log lines wait until there is nothing else to do, and are written together.
        let runtime =
            Builder::new_current_thread().enable_all().on_thread_park(log_lines::flush).build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = Self { runtime: runtime.handle().clone(), _stop: stop };
        thread::Builder::new().name("gateway".to_owned()).spawn(move || {
            log_lines::gather();
            let _ = runtime.block_on(stopped);
            // What a look-up still waits for is not waited for.
            runtime.shutdown_background();
            log_lines::flush();
        })?;
        Ok(thread)
    }
}
