//! How much work may wait: bounded by jobs and by tokens; and how much of it would be computed before a new job.
//! Counts only; knows nothing of threads' work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::share::{Class, Share};

/// How long somebody waits at most before they look for room themselves: who was told of it may have gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

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
    /// By class and caller; no caller is there without a job.
    of: BTreeMap<(Class, u64), Own>,
    /// Callers that wait for room.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// What a caller has inside.
#[derive(Debug, Default)]
struct Own {
    jobs: usize,
    /// Tokens to compute.
    work: usize,
}

impl Held {
    /// Whether a bulk caller leaves enough for the others, if there are any: it may hold as much as is free (the dynamic
    /// thresholds of Choudhury and Hahne, IEEE/ACM Transactions on Networking, 1998).
    fn is_fair(&self, bounds: Bounds, caller: u64) -> bool {
        let inside = self.of.keys().any(|(class, other)| *class == Class::Bulk && *other != caller);
        let others = inside || self.waiting.keys().any(|other| *other != caller);
        let own = self.of.get(&(Class::Bulk, caller)).map_or(0, |own| own.jobs);
        !others || own < bounds.jobs.saturating_sub(self.jobs)
    }
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
        if !self.fits(&held, load) {
            return Err(Full { tokens: held.tokens });
        }
        held.jobs += 1;
        held.tokens += load.tokens;
        let own = held.of.entry(load.place()).or_default();
        own.jobs += 1;
        own.work += load.work;
        // There may be room for the next one too.
        if let Some(waiting) = held.waiting.get(&load.share.caller) {
            waiting.notify_one();
        }
        Ok(Permit { load, held: self.held.clone() })
    }

    /// Returns when a small job of this share would fit. Those of one caller return in turn, each when a job has entered or
    /// left, so that few find the room taken.
    pub async fn room(&self, share: Share) {
        let load = Load { share, ..Load::default() };
        loop {
            let waiting = {
                let mut held = lock(&self.held);
                if self.fits(&held, load) {
                    return;
                }
                held.waiting.entry(share.caller).or_default().clone()
            };
            let _told_or_not = timeout(LOOK_AGAIN, waiting.notified()).await;
        }
    }

    fn fits(&self, held: &Held, load: Load) -> bool {
        let Share { class, caller, .. } = load.share;
        let bounds = self.bounds.for_class(class);
        let within = held.jobs < bounds.jobs && held.tokens + load.tokens <= bounds.tokens;
        held.jobs == 0 || within && (class == Class::Interactive || held.is_fair(bounds, caller))
    }

    /// Tokens that are computed before a new job of this share, by the queue's rules: those of its caller, as many of
    /// each other caller of its class, and what the other class gets meanwhile. Videos and texts don't count, so that
    /// it is rather too low than too high.
    pub fn ahead(&self, share: Share) -> usize {
        let held = lock(&self.held);
        let of = |class| held.of.iter().filter(move |((c, _), _)| *c == class);
        let own = held.of.get(&(share.class, share.caller)).map_or(0, |own| own.work);
        let class: usize = of(share.class).map(|(_, other)| other.work.min(own)).sum();
        let other: usize =
            Class::ALL.into_iter().filter(|c| *c != share.class).flat_map(of).map(|(_, o)| o.work).sum();
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
        if let Some(own) = held.of.get_mut(&self.load.place()) {
            own.jobs -= 1;
            own.work -= self.load.work;
            if own.jobs == 0 {
                held.of.remove(&self.load.place());
            }
        }
        held.waiting.retain(|_, waiting| {
            waiting.notify_one();
            // Else nobody waits any more.
            Arc::strong_count(waiting) > 1
        });
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
    fn who_fills_all_makes_way_for_others() {
        let admission = Admission::new(Bounds { jobs: 16, tokens: 1_000 });
        let share = |caller| Share { class: Class::Bulk, caller, weight: 1.0 };
        let enter = |caller| admission.enter(Load { tokens: 1, work: 1, share: share(caller) });
        let mut first: Vec<_> = (0..12).map(|_| enter(1).unwrap()).collect();
        let mut second = Vec::new();
        for _ in 0..8 {
            first.pop();
            second.extend(enter(2));
            assert!(enter(1).is_err(), "{} and {} inside", first.len(), second.len());
        }
        assert_eq!((first.len(), second.len()), (4, 4));
    }

    #[tokio::test]
    async fn those_who_wait_come_in_turn_as_jobs_leave() {
        let admission = Admission::new(Bounds { jobs: 4, tokens: 1_000 });
        let load =
            |caller| Load { tokens: 1, work: 1, share: Share { class: Class::Bulk, caller, weight: 1.0 } };
        let mut inside: Vec<_> = (0..3).map(|_| admission.enter(load(0)).unwrap()).collect();
        let entered = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..40)
            .map(|i| {
                let (admission, entered) = (admission.clone(), entered.clone());
                tokio::spawn(async move {
                    admission.room(load(i % 2).share).await;
                    entered.lock().unwrap().push(admission.enter(load(i % 2)));
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(entered.lock().unwrap().is_empty());
        inside.clear();
        while !waiting.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
            assert!(admission.jobs() <= 3);
            entered.lock().unwrap().drain(..).for_each(|place| drop(place.unwrap()));
        }
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
