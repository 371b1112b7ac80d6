//! How much work may wait: bounded by jobs and by tokens; and how much of it would be computed before a new job.
//! Counts only; knows nothing of time or threads' work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::share::{Class, Share};

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Jobs queued and running together.
    pub jobs: usize,
    /// Tokens that these jobs may need together.
    pub tokens: usize,
}

impl Bounds {
    /// Up to where jobs of a class are let in: a quarter stays free of bulk jobs, which would fill all there is.
    fn for_class(self, class: Class) -> Self {
        match class {
            Class::Interactive => self,
            Class::Bulk => Self { jobs: self.jobs - self.jobs / 4, tokens: self.tokens - self.tokens / 4 },
        }
    }
}

#[derive(Debug, Default)]
struct Held {
    jobs: usize,
    tokens: usize,
    /// Tokens to compute, by class and caller; no caller is there without any.
    work: BTreeMap<(Class, u64), usize>,
}

/// What a job brings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Tokens that it may need at most, with those of its text.
    pub tokens: usize,
    /// Of these, tokens to compute before it is scored.
    pub work: usize,
    /// Whose job it is.
    pub share: Share,
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
    load: Load,
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

    /// Lets a job in. A job alone always fits, however long.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&self, load: Load) -> Result<Permit, Full> {
        let mut held = lock(&self.held);
        let bounds = self.bounds.for_class(load.share.class);
        let over = held.jobs + 1 > bounds.jobs || held.tokens + load.tokens > bounds.tokens;
        if over && held.jobs > 0 {
            return Err(Full { tokens: held.tokens });
        }
        held.jobs += 1;
        held.tokens += load.tokens;
        *held.work.entry(load.place()).or_default() += load.work;
        Ok(Permit { load, held: self.held.clone() })
    }

    /// Tokens that are computed before a new job of this share, by the queue's rules: those of its caller, as many of
    /// each other caller of its class, and what the other class gets meanwhile. Videos and texts don't count, so that
    /// it is rather too low than too high.
    pub fn ahead(&self, share: Share) -> usize {
        let held = lock(&self.held);
        let of = |class| held.work.iter().filter(move |((c, _), _)| *c == class);
        let own = held.work.get(&(share.class, share.caller)).copied().unwrap_or(0);
        let class: usize = of(share.class).map(|(_, tokens)| (*tokens).min(own)).sum();
        let other: usize =
            Class::ALL.into_iter().filter(|c| *c != share.class).flat_map(of).map(|(_, t)| *t).sum();
        let meanwhile = class as f64 * share.class.other_for_each();
        class + other.min(meanwhile as usize)
    }

    /// Jobs inside.
    pub fn jobs(&self) -> usize {
        lock(&self.held).jobs
    }
}

impl Load {
    fn place(&self) -> (Class, u64) {
        (self.share.class, self.share.caller)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.jobs -= 1;
        held.tokens -= self.load.tokens;
        if let Some(work) = held.work.get_mut(&self.load.place()) {
            *work = work.saturating_sub(self.load.work);
            if *work == 0 {
                held.work.remove(&self.load.place());
            }
        }
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
        let enter = |tokens| admission.enter(Load { tokens, ..Load::default() });
        let a = enter(60).unwrap();
        assert_eq!(enter(41).unwrap_err(), Full { tokens: 60 });
        let b = enter(40).unwrap();
        assert!(enter(0).is_err(), "two jobs are inside");
        drop(a);
        let c = enter(60).unwrap();
        drop((b, c));
        assert_eq!(admission.jobs(), 0);
        assert!(enter(1000).is_ok(), "a long job alone is let in");
    }

    #[test]
    fn bulk_jobs_leave_room_for_interactive_ones() {
        let admission = Admission::new(Bounds { jobs: 8, tokens: 800 });
        let enter = |class, tokens| {
            let share = Share { class, ..Share::default() };
            admission.enter(Load { tokens, share, ..Load::default() })
        };
        let bulk: Vec<_> = (0..6).map(|_| enter(Class::Bulk, 10).unwrap()).collect();
        assert!(enter(Class::Bulk, 10).is_err(), "a quarter is not for bulk jobs");
        let interactive: Vec<_> = (0..2).map(|_| enter(Class::Interactive, 10).unwrap()).collect();
        assert!(enter(Class::Interactive, 10).is_err());
        drop((bulk, interactive));
        let _bulk = enter(Class::Bulk, 600).unwrap();
        assert!(enter(Class::Bulk, 1).is_err(), "nor a quarter of the tokens");
        enter(Class::Interactive, 200).unwrap();
    }

    #[test]
    fn what_is_ahead_is_what_the_queue_computes_first() {
        let admission = Admission::new(Bounds { jobs: 100, tokens: 100_000 });
        let share = |class, caller| Share { class, caller, weight: 1.0 };
        let enter = |class, caller, work| {
            admission.enter(Load { tokens: work, work, share: share(class, caller) }).unwrap()
        };
        let ahead = |class, caller| admission.ahead(share(class, caller));
        let a = enter(Class::Interactive, 1, 900);
        let _b = enter(Class::Interactive, 2, 90);
        let _c = enter(Class::Bulk, 3, 5000);
        assert_eq!(ahead(Class::Interactive, 1), 900 + 90 + 110, "a tenth of the time is bulk's");
        assert_eq!(ahead(Class::Interactive, 2), 90 + 90 + 20);
        assert_eq!(ahead(Class::Interactive, 4), 0, "who has nothing waiting is next");
        assert_eq!(ahead(Class::Bulk, 3), 5000 + 990);
        drop(a);
        assert_eq!(ahead(Class::Bulk, 3), 5000 + 90);
    }
}
