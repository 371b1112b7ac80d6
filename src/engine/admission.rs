//! How much work may wait: bounded by jobs and by tokens. Counts only; knows nothing of time or threads' work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Jobs queued and running together.
    pub jobs: usize,
    /// Tokens that these jobs may need together.
    pub tokens: usize,
}

#[derive(Debug, Default)]
struct Held {
    jobs: usize,
    tokens: usize,
}

/// Lets jobs in as long as they fit the bounds.
#[derive(Debug, Clone)]
pub struct Admission {
    bounds: Bounds,
    held: Arc<Mutex<Held>>,
}

/// A job's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    tokens: usize,
    held: Arc<Mutex<Held>>,
}

/// No room: how much is held already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Tokens that jobs inside may need.
    pub tokens: usize,
}

impl Admission {
    /// With nothing inside.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, held: Arc::default() }
    }

    /// Lets a job of `tokens` in. A job alone always fits, however long.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&self, tokens: usize) -> Result<Permit, Full> {
        let mut held = lock(&self.held);
        let over = held.jobs + 1 > self.bounds.jobs || held.tokens + tokens > self.bounds.tokens;
        if over && held.jobs > 0 {
            return Err(Full { tokens: held.tokens });
        }
        held.jobs += 1;
        held.tokens += tokens;
        Ok(Permit { tokens, held: self.held.clone() })
    }

    /// Jobs inside.
    pub fn jobs(&self) -> usize {
        lock(&self.held).jobs
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.jobs -= 1;
        held.tokens -= self.tokens;
    }
}

/// Counts stay right even if a holder panicked: each update is complete under the lock.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let admission = Admission::new(Bounds { jobs: 2, tokens: 100 });
        let a = admission.enter(60).unwrap();
        assert_eq!(admission.enter(41).unwrap_err(), Full { tokens: 60 });
        let b = admission.enter(40).unwrap();
        assert!(admission.enter(0).is_err(), "two jobs are inside");
        drop(a);
        let c = admission.enter(60).unwrap();
        drop((b, c));
        assert_eq!(admission.jobs(), 0);
        assert!(admission.enter(1000).is_ok(), "a long job alone is let in");
    }
}
