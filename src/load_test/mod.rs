//! What a load run measured, summed up. Pure: samples in, a report out.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::engine::{Stats, StepCounts};

/// One answered request.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// What the engine says of it.
    pub stats: Stats,
    /// From sending to the last event, as the client sees it.
    pub total: Duration,
    /// Answered from memory, as a repeat of another request.
    pub from_cache: bool,
    /// Arrivals of the pieces of text, from sending; empty for classifications.
    pub pieces: Vec<Duration>,
}

/// A finished run.
#[derive(Debug, Default)]
pub struct Run {
    /// Classifications.
    pub classified: Vec<Sample>,
    /// Explanations.
    pub explained: Vec<Sample>,
    /// Requests without an answer.
    pub failed: usize,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// What the engine's steps did in this time, if it runs in this process.
    pub steps: Option<StepCounts>,
    /// Tokens that fit a step.
    pub batch_size: usize,
    /// Highest resident memory of this process in bytes, if known.
    pub peak_memory: Option<u64>,
}

impl Run {
    /// The figures by name, in the order to show them; times in milliseconds.
    pub fn figures(&self) -> Map<String, Value> {
        let mut figures = Map::new();
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let mut put = |name: &str, value: Value| {
            figures.insert(name.to_owned(), value);
        };
        put("classifications", json!(self.classified.len()));
        put("from_cache", json!(self.classified.iter().filter(|s| s.from_cache).count()));
        put("explanations", json!(self.explained.len()));
        put("failed", json!(self.failed));
        put("seconds", round(seconds));
        put("classifications_per_second", round(self.classified.len() as f64 / seconds));
        let all = || self.classified.iter().chain(&self.explained);
        let saved: usize = all().map(|s| s.stats.cached_tokens).sum();
        put("saved_tokens_per_second", round(saved as f64 / seconds));
        if let Some(steps) = &self.steps {
            put("computed_tokens_per_second", round(steps.tokens as f64 / seconds));
            put(
                "computed_tokens_per_busy_second",
                round(steps.tokens as f64 / steps.busy.as_secs_f64().max(1e-9)),
            );
            put("steps", json!(steps.steps));
            let capacity = (steps.steps * self.batch_size as u64).max(1);
            put("batch_fill", round(steps.tokens as f64 / capacity as f64));
            put("busy_share", round(steps.busy.as_secs_f64() / seconds));
        }
        for (name, time) in [
            ("queue_ms", (|s| s.stats.queue) as fn(&Sample) -> Duration),
            ("compute_ms", |s| s.stats.compute),
            ("total_ms", |s| s.total),
        ] {
            put(name, percentiles(self.classified.iter().map(time).collect()));
        }
        if !self.explained.is_empty() {
            let first = self.explained.iter().filter_map(|s| s.pieces.first().copied());
            put("first_text_ms", percentiles(first.collect()));
            let gaps = self.explained.iter().flat_map(|s| s.pieces.windows(2).map(|w| w[1] - w[0]));
            put("gap_ms", percentiles(gaps.clone().collect()));
            put("longest_gap_ms", milliseconds(gaps.max().unwrap_or_default()));
            let written: usize = self.explained.iter().map(|s| s.stats.generated_tokens).sum();
            put("written_tokens_per_second", round(written as f64 / seconds));
            put("stream_tokens_per_second", round(self.stream_pace()));
            if let Some(steps) = &self.steps {
                put("drafted_tokens", json!(steps.drafted));
                put("accepted_share", round(steps.accepted as f64 / steps.drafted.max(1) as f64));
            }
        }
        if let Some(peak) = self.peak_memory {
            put("peak_memory_mib", round(peak as f64 / f64::from(1 << 20)));
        }
        figures
    }

    /// Tokens per second of a stream on average, from its first text to its last. A draft's tokens come all at once, so
    /// that gaps don't tell.
    fn stream_pace(&self) -> f64 {
        let streams = self.explained.iter().filter(|s| s.pieces.len() > 1);
        let (tokens, time) = streams.fold((0, Duration::ZERO), |(tokens, time), s| {
            let span = s.pieces[s.pieces.len() - 1] - s.pieces[0];
            (tokens + s.stats.generated_tokens.saturating_sub(1), time + span)
        });
        tokens as f64 / time.as_secs_f64().max(1e-9)
    }

    /// The figures as lines for people.
    pub fn table(&self) -> String {
        let line = |(name, value): (&String, &Value)| {
            let label = name.replace('_', " ");
            match value {
                Value::Object(p) => {
                    format!("{label:<34}{:>10} {:>10} {:>10}\n", p["p50"], p["p95"], p["p99"])
                }
                value => format!("{label:<34}{value:>10}\n"),
            }
        };
        let rows: String = self.figures().iter().map(line).collect();
        format!("{:<34}{:>10} {:>10} {:>10}\n{rows}", "", "p50", "p95", "p99")
    }
}

/// The 50th, 95th and 99th percentiles by nearest rank, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        let rank = (share * times.len() as f64).ceil() as usize;
        milliseconds(times.get(rank.saturating_sub(1)).copied().unwrap_or_default())
    };
    json!({ "p50": at(0.50), "p95": at(0.95), "p99": at(0.99) })
}

fn milliseconds(time: Duration) -> Value {
    round(time.as_secs_f64() * 1e3)
}

fn round(value: f64) -> Value {
    json!((value * 100.0).round() / 100.0)
}

/// Highest resident memory of this process in bytes (`VmHWM` of Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_samples() {
        let ms = Duration::from_millis;
        let sample = |i| Sample { total: ms(i), from_cache: i % 4 == 0, ..Sample::default() };
        let stats = Stats { generated_tokens: 3, cached_tokens: 50, ..Stats::default() };
        let pieces = vec![ms(20), ms(30), ms(70)];
        let explained = Sample { stats, total: ms(90), pieces, from_cache: false };
        let run = Run {
            classified: (1..=100).map(sample).collect(),
            explained: vec![explained],
            elapsed: ms(2_000),
            steps: Some(StepCounts {
                steps: 10,
                tokens: 1_000,
                drafted: 40,
                accepted: 30,
                busy: ms(1_000),
                ..StepCounts::default()
            }),
            batch_size: 200,
            ..Run::default()
        };
        let f = run.figures();
        assert_eq!(f["classifications_per_second"], json!(50.0));
        assert_eq!(f["from_cache"], json!(25));
        assert_eq!(f["total_ms"], json!({ "p50": 50.0, "p95": 95.0, "p99": 99.0 }));
        assert_eq!(f["computed_tokens_per_busy_second"], json!(1_000.0));
        assert_eq!(f["batch_fill"], json!(0.5));
        assert_eq!(f["busy_share"], json!(0.5));
        assert_eq!(f["first_text_ms"]["p50"], json!(20.0));
        assert_eq!(f["longest_gap_ms"], json!(40.0));
        assert_eq!(f["written_tokens_per_second"], json!(1.5));
        assert_eq!(f["stream_tokens_per_second"], json!(40.0), "two more tokens in 50 ms");
        assert_eq!((&f["drafted_tokens"], &f["accepted_share"]), (&json!(40), &json!(0.75)));
        assert_eq!(f["saved_tokens_per_second"], json!(25.0));
    }
}
