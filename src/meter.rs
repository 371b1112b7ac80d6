//! Numbers that one part of a running server writes and another reads: counters, gauges and histograms of
//! atomics. Writing one takes nanoseconds and no lock; what they are called on the wire is `telemetry`'s to say.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Numbers are read while they are written: each is right, two may be of different moments.
const ORDER: Ordering = Ordering::Relaxed;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, ORDER);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(ORDER)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Changes the number by `n`.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, ORDER);
    }

    /// Sets the number.
    pub fn set(&self, n: usize) {
        self.0.store(i64::try_from(n).unwrap_or(i64::MAX), ORDER);
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(ORDER)
    }
}

/// One of the values in a histogram's range, with where more is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Names and values of labels, such as a trace's id.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
    /// When it was noted.
    pub at: SystemTime,
}

/// How often values fell into each of a few ranges, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what lies above.
    counts: Box<[AtomicU64]>,
    /// Bits of an `f64`.
    sum: AtomicU64,
    /// The last one of each range. Writers never wait for the lock: one that finds it taken leaves its exemplar out.
    exemplars: Box<[Mutex<Option<Exemplar>>]>,
}

impl Histogram {
    /// Empty. A range reaches to and includes its bound; the bounds ascend.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let exemplars = (0..=bounds.len()).map(|_| Mutex::default()).collect();
        Self { bounds, counts, sum: AtomicU64::new(0), exemplars }
    }

    /// Notes a value; one that is no number is none.
    pub fn note(&self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if let Some(count) = self.counts.get(self.range(value)) {
            count.fetch_add(1, ORDER);
        }
        // The closure never declines, so this cannot fail.
        let _ = self.sum.fetch_update(ORDER, ORDER, |bits| Some((f64::from_bits(bits) + value).to_bits()));
    }

    /// Notes a time, in seconds.
    pub fn time(&self, time: Duration) {
        self.note(time.as_secs_f64());
    }

    /// Notes a time, in seconds, with where more is known of it.
    pub fn time_with(&self, time: Duration, labels: Vec<(&'static str, String)>) {
        self.time(time);
        let value = time.as_secs_f64();
        let place = self.exemplars.get(self.range(value)).and_then(|place| place.try_lock().ok());
        if let Some(mut place) = place {
            *place = Some(Exemplar { labels, value, at: SystemTime::now() });
        }
    }

    /// The last exemplar of each range, in the order of [`Self::cumulative`].
    pub fn exemplars(&self) -> Vec<Option<Exemplar>> {
        let read =
            |place: &Mutex<Option<Exemplar>>| place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.exemplars.iter().map(read).collect()
    }

    fn range(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    /// Bounds with the count of values up to each, and last infinity with the count of all.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        let mut up_to = |count: &AtomicU64| {
            total += count.load(ORDER);
            total
        };
        bounds.zip(self.counts.iter()).map(|(bound, count)| (bound, up_to(count))).collect()
    }

    /// Sum of all values.
    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum.load(ORDER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_range_whose_bound_they_do_not_exceed() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.05, 0.1, 0.5, 1.0, 7.0, f64::NAN] {
            histogram.note(value);
        }
        assert_eq!(histogram.cumulative(), [(0.1, 2), (1.0, 4), (f64::INFINITY, 5)]);
        assert!((histogram.sum() - 8.65).abs() < 1e-9);
    }

    #[test]
    fn a_range_keeps_its_last_exemplar() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        histogram.time(Duration::from_millis(50));
        for (time, name) in [(200, "first"), (300, "last"), (5_000, "slow")] {
            histogram.time_with(Duration::from_millis(time), vec![("name", name.to_owned())]);
        }
        let kept = histogram.exemplars();
        let kept: Vec<_> =
            kept.iter().map(|e| e.as_ref().map(|e| (e.labels[0].1.as_str(), e.value))).collect();
        assert_eq!(kept, [None, Some(("last", 0.3)), Some(("slow", 5.0))]);
        assert_eq!(histogram.cumulative(), [(0.1, 1), (1.0, 3), (f64::INFINITY, 4)]);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let (histogram, counter) = (Histogram::new(&[1.0]), Counter::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        histogram.note(0.5);
                        counter.one();
                    }
                });
            }
        });
        assert_eq!((histogram.cumulative()[1].1, histogram.sum(), counter.get()), (4_000, 2_000.0, 4_000));
    }
}
