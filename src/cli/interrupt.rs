//! Ctrl-C as something to wait for and to look at. A second one ends the process at once.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether Ctrl-C was pressed.
#[derive(Clone, Default)]
pub struct Interrupt {
    came: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let told = interrupt.clone();
        tokio::spawn(async move {
            // Without a handler, Ctrl-C ends the process as ever.
            if tokio::signal::ctrl_c().await.is_ok() {
                told.came.store(true, Ordering::SeqCst);
                told.notify.notify_one();
                if tokio::signal::ctrl_c().await.is_ok() {
                    process::exit(130);
                }
            }
        });
        interrupt
    }

    /// Returns when it comes.
    pub async fn come(&self) {
        self.notify.notified().await;
    }

    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }
}
