//! Whether a server takes calls.

use std::sync::Arc;

use tokio::sync::watch;

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It warms up.
    Starting,
    /// It takes calls.
    Ready,
    /// It takes no more calls.
    Stopping,
}

/// Whether the server takes calls: not before it is warm, and not once it stops.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<State>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Starting)))
    }
}

impl Readiness {
    /// It takes calls from now on, unless it stops already.
    pub fn ready(&self) {
        self.0.send_if_modified(|state| {
            let starting = *state == State::Starting;
            if starting {
                *state = State::Ready;
            }
            starting
        });
    }

    /// It takes no more calls.
    pub fn stopping(&self) {
        self.0.send_replace(State::Stopping);
    }

    /// It takes calls now.
    pub fn is_ready(&self) -> bool {
        self.state() == State::Ready
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        *self.0.borrow()
    }
}
