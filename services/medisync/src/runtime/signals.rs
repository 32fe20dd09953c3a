//! Signals, as a process that serves takes them:
//!
//! - TERM, INT and QUIT stop it, and let what is in flight finish.
//! - HUP has certificates and the log's level read again.
//! - USR1 and USR2 do nothing: tools that send them to whatever rotates its log do no harm.
//!
//! None of them ends it at once, not even while it starts.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// All of them, handled from the moment on when this was made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hang_up: Signal,
}

// === impl Signals ===

impl Signals {
    /// Takes them over from the system, for as long as the process lives.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn install() -> io::Result<Self> {
        for ignored in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
            // Anyone who asked once keeps the system from ending the process, listening or not.
            drop(signal(ignored)?);
        }
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that stops the process; one that has it read again stays to be taken.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
        }
    }

    /// Waits for one more from the terminal: anyone who asks twice does not want to wait.
    pub(crate) async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }

    /// Waits for either: whether it was to stop, or to read again what may have changed.
    pub(crate) async fn next(&mut self) -> Action {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Action::Stop,
            _ = self.terminate.recv() => Action::Stop,
            _ = self.quit.recv() => Action::Stop,
            _ = self.hang_up.recv() => Action::Reload,
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Stop,
    Reload,
}
