//! Jobs that wait: interactive ones before bulk ones, and callers of a class by fair shares of the tokens computed.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996), twice: between the two classes and, within each, between
//! callers. Whoever was idle gains nothing by it, and whoever waits is served in proportion to their weight. Within a
//! caller, jobs keep their order.

use std::collections::{BTreeMap, VecDeque};

use super::job::Job;
use super::share::{Class, Share};

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    class: Class,
    caller: u64,
    /// From the first of the caller's.
    pub index: usize,
}

impl Place {
    /// Another job of the same caller.
    pub fn at(self, index: usize) -> Self {
        Self { index, ..self }
    }
}

/// Virtual time: how much each key was given, divided by its weight.
struct Fair<K> {
    now: f64,
    starts: BTreeMap<K, f64>,
}

impl<K: Ord + Copy> Fair<K> {
    /// When the key's next job would start: never earlier than now, so that nobody saves up.
    fn start(&self, key: &K) -> f64 {
        self.starts.get(key).map_or(self.now, |start| start.max(self.now))
    }

    /// Whose turn it is.
    fn next(&self, waiting: impl Iterator<Item = K>) -> Option<K> {
        waiting.min_by(|a, b| self.start(a).total_cmp(&self.start(b)).then(a.cmp(b)))
    }

    /// The key's job starts.
    fn begin(&mut self, key: K) {
        self.now = self.start(&key);
        let now = self.now;
        self.starts.retain(|_, start| *start > now);
    }

    /// The key was given `tokens`.
    fn charge(&mut self, key: K, tokens: usize, weight: f64) {
        let start = self.start(&key) + tokens as f64 / weight;
        self.starts.insert(key, start);
    }
}

impl<K> Default for Fair<K> {
    fn default() -> Self {
        Self { now: 0.0, starts: BTreeMap::new() }
    }
}

/// The jobs of one class, by caller; no caller is there without a job.
#[derive(Default)]
struct ClassQueue {
    jobs: BTreeMap<u64, VecDeque<Job>>,
    callers: Fair<u64>,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    classes: BTreeMap<Class, ClassQueue>,
    turns: Fair<Class>,
}

impl Queue {
    /// Adds a job behind its caller's others.
    pub fn push(&mut self, job: Job) {
        let Share { class, caller, .. } = job.spec.share;
        self.classes.entry(class).or_default().jobs.entry(caller).or_default().push_back(job);
    }

    /// The place of the job whose turn it is. With `without_bulk_texts`, no bulk job that writes is meant.
    pub fn next(&self, without_bulk_texts: bool) -> Option<Place> {
        let may_start = |job: &Job| {
            !(without_bulk_texts && job.spec.share.class == Class::Bulk && job.spec.generation.is_some())
        };
        let next_caller = |class: &Class| {
            let ClassQueue { jobs, callers } = self.classes.get(class)?;
            callers.next(
                jobs.iter()
                    .filter(|(_, jobs)| jobs.front().is_some_and(may_start))
                    .map(|(caller, _)| *caller),
            )
        };
        let class = self.turns.next(Class::ALL.into_iter().filter(|class| next_caller(class).is_some()))?;
        let caller = next_caller(&class)?;
        Some(Place { class, caller, index: 0 })
    }

    /// The waiting jobs of the caller at this place, in order.
    pub fn of_caller(&self, place: Place) -> impl Iterator<Item = &Job> {
        self.classes.get(&place.class).and_then(|class| class.jobs.get(&place.caller)).into_iter().flatten()
    }

    /// Takes the job at a place.
    pub fn take(&mut self, place: Place) -> Option<Job> {
        let class = self.classes.get_mut(&place.class)?;
        let jobs = class.jobs.get_mut(&place.caller)?;
        let job = jobs.remove(place.index);
        if jobs.is_empty() {
            class.jobs.remove(&place.caller);
        }
        job
    }

    /// Puts back a job that could not start.
    pub fn put_back(&mut self, place: Place, job: Job) {
        let class = self.classes.entry(place.class).or_default();
        class.jobs.entry(place.caller).or_default().insert(place.index, job);
    }

    /// A job of this share starts.
    pub fn begin(&mut self, share: Share) {
        self.turns.begin(share.class);
        self.classes.entry(share.class).or_default().callers.begin(share.caller);
    }

    /// Tokens were computed for a job of this share.
    pub fn charge(&mut self, share: Share, tokens: usize) {
        self.turns.charge(share.class, tokens, share.class.weight());
        let weight = if share.weight > 0.0 { share.weight } else { 1.0 };
        self.classes.entry(share.class).or_default().callers.charge(share.caller, tokens, weight);
    }

    /// Keeps the jobs that are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&Job) -> bool) {
        for class in self.classes.values_mut() {
            class.jobs.values_mut().for_each(|jobs| jobs.retain(&mut keep));
            class.jobs.retain(|_, jobs| !jobs.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::admission::{Admission, Bounds, Load};
    use super::super::job::JobSpec;
    use super::super::meters::Course;
    use super::*;

    fn job(share: Share, tokens: usize) -> Job {
        let permit = Admission::new(Bounds { jobs: 1, tokens: 0 }).enter(Load::default()).unwrap();
        let spec = JobSpec {
            shared: Arc::new([]),
            tokens: vec![1; tokens],
            branches: Arc::new([]),
            generation: None,
            deadline: None,
            reproducible: false,
            share,
        };
        Job {
            spec,
            submitted: Instant::now(),
            events: tokio::sync::mpsc::channel(1).0,
            course: Course::begin(Arc::default(), Class::Interactive, Duration::ZERO),
            _permit: Arc::new(permit),
        }
    }

    /// Takes jobs whose turn it is until `tokens` are given; tokens by share.
    fn serve(queue: &mut Queue, tokens: usize) -> BTreeMap<(Class, u64), usize> {
        let mut given = BTreeMap::new();
        while given.values().sum::<usize>() < tokens {
            let job = queue.take(queue.next(false).unwrap()).unwrap();
            let (share, work) = (job.spec.share, job.spec.work());
            queue.begin(share);
            queue.charge(share, work);
            *given.entry((share.class, share.caller)).or_default() += work;
        }
        given
    }

    fn fill(queue: &mut Queue, share: Share, tokens: usize, jobs: usize) {
        (0..jobs).for_each(|_| queue.push(job(share, tokens)));
    }

    const A: Share = Share { class: Class::Interactive, caller: 1, weight: 1.0 };
    const B: Share = Share { class: Class::Interactive, caller: 2, weight: 3.0 };
    const BULK: Share = Share { class: Class::Bulk, caller: 1, weight: 1.0 };

    #[test]
    fn callers_of_a_class_are_served_by_weight_whatever_their_jobs_lengths() {
        let mut queue = Queue::default();
        fill(&mut queue, A, 40, 200);
        fill(&mut queue, B, 10, 800);
        let given = serve(&mut queue, 4000);
        let (a, b) = (given[&(A.class, 1)], given[&(B.class, 2)]);
        assert!(a.abs_diff(1000) <= 40 && b.abs_diff(3000) <= 40, "{given:?}");
    }

    #[test]
    fn who_was_idle_saves_nothing_up_and_pays_nothing_back() {
        let mut queue = Queue::default();
        fill(&mut queue, A, 10, 500);
        serve(&mut queue, 3000);
        let late = Share { caller: 3, ..A };
        fill(&mut queue, late, 10, 500);
        let given = serve(&mut queue, 1000);
        assert!(given[&(A.class, 1)].abs_diff(given[&(A.class, 3)]) <= 10, "{given:?}");
    }

    #[test]
    fn bulk_gets_a_tenth_beside_interactive_jobs_and_all_without() {
        let mut queue = Queue::default();
        fill(&mut queue, BULK, 10, 500);
        assert_eq!(serve(&mut queue, 1000).len(), 1);
        fill(&mut queue, A, 10, 500);
        let first = queue.next(false).unwrap();
        assert_eq!(first.class, Class::Interactive, "who comes now is next");
        let given = serve(&mut queue, 2000);
        assert!(given[&(Class::Bulk, 1)].abs_diff(200) <= 20, "{given:?}");
    }

    #[test]
    fn a_caller_s_jobs_keep_their_order_and_a_job_put_back_its_place() {
        let mut queue = Queue::default();
        (1..=3).for_each(|tokens| queue.push(job(A, tokens)));
        let place = queue.next(false).unwrap();
        let first = queue.take(place).unwrap();
        queue.put_back(place, first);
        let lengths: Vec<usize> = queue.of_caller(place).map(|job| job.spec.tokens.len()).collect();
        assert_eq!(lengths, [1, 2, 3]);
        queue.retain(|job| job.spec.tokens.len() == 2);
        assert_eq!(serve(&mut queue, 2)[&(A.class, 1)], 2);
        assert!(queue.next(false).is_none());
    }
}
