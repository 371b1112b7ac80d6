//! `ko-sentiment bench`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use super::answerer_args::AnswererArgs;
use super::data_args::{ReadArgs, warn_refused};
use super::ranges::{rate, temperature, whole};
use super::run::{CliResult, block_on};
use super::session::{Session, SessionError};
use crate::dataset::{Comments, DatasetError, ReadOptions, RefusedRows, no_rows};
use crate::engine::StepCounts;
use crate::grpc::{Client, ClientOptions, Listen, RemoteReason, Server, ServerOptions, Target};
use crate::llama::Places;
use crate::load_test::{Run, Sample, peak_memory};
use crate::sentiment::classify::{Classifier, ReasonEvent};
use crate::sentiment::input::{MAX_TOKENS, RawInput};

/// Measure throughput and latency under load.
///
/// For example: ko-sentiment bench --model model.gguf --data comments.txt --clients 16
///
/// The default is a closed loop: each client sends its next request when it has an answer. --rate makes it an open
/// loop: requests arrive at random (Poisson), whether earlier ones are answered or not.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Comments: one per line (.txt), or any file that `eval` reads, with or without labels.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// Classifications to make; if there are fewer comments, they repeat.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = whole::<usize>(0..=100_000_000))]
    requests: usize,

    /// Classifications of other texts to make first, without counting them.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = whole::<usize>(0..=1_000_000))]
    warmup: usize,

    /// Concurrent clients.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = whole::<usize>(1..=65_536))]
    clients: usize,

    /// Mean requests per second (open loop), instead of a number of clients.
    #[arg(long, value_name = "R", conflicts_with = "clients", value_parser = rate)]
    rate: Option<f64>,

    /// Concurrent streams of reasons beside the classifications, repeated until these are done; with --requests 0,
    /// each runs once.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<usize>(0..=65_536))]
    streams: usize,

    /// Minimum reasons per stream.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<usize>(1..=1_000_000))]
    per_stream: usize,

    /// Sampling temperature of the reasons; 0 takes the most probable token.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,

    /// Maximum tokens of the reasons.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = whole::<u32>(1..=u64::from(MAX_TOKENS)))]
    max_tokens: u32,

    /// Made-up videos to spread the comments over, interleaved; 0 keeps the file's own.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<usize>(0..=1_000_000))]
    videos: usize,

    /// Length of a made-up video's summary in characters.
    #[arg(long, value_name = "N", default_value_t = 350, value_parser = whole::<usize>(0..=5_000))]
    summary_chars: usize,

    /// Percentage of requests that repeat an earlier one.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=90))]
    duplicates: u8,

    /// With --model, call through gRPC on the loopback interface instead of directly.
    #[arg(long)]
    grpc: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: ReadArgs,

    #[command(flatten)]
    answerer: AnswererArgs,
}

/// A request's texts.
#[derive(Debug, Clone)]
struct Item {
    comment: String,
    title: String,
    summary: String,
}

impl Item {
    fn input(&self) -> RawInput<'_> {
        RawInput { comment: &self.comment, video_id: "", title: &self.title, summary: &self.summary }
    }
}

pub fn run(args: &BenchArgs) -> CliResult {
    if args.grpc && args.answerer.endpoint.is_some() {
        return Err(
            "--grpc is for --model: a server at --endpoint is asked through gRPC anyway; leave it out".into(),
        );
    }
    let items = Arc::new(items(args)?);
    let run = block_on(measure(args, items))??;
    let kernels = args.answerer.options.kernels();
    let places = args.answerer.model.as_deref().map(|model| Places::of(model, kernels)).transpose()?;
    if args.json {
        let mut figures = run.figures();
        if let Some(places) = places {
            figures
                .insert("products".to_owned(), json!({ "ours": places.ours, "llama.cpp": places.llama_cpp }));
        }
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", run.table());
        if let Some(places) = &places {
            println!("\nproducts: {places}");
        }
    }
    if run.failed > 0 { Err(format!("{} requests failed", run.failed).into()) } else { Ok(()) }
}

/// The requests to make, in order; at least one for each stream.
fn items(args: &BenchArgs) -> Result<Vec<Item>, Box<dyn std::error::Error + Send + Sync>> {
    let rows = comments(&args.data, args.reading.options())?;
    let at = |i: usize| &rows[i % rows.len()];
    let summary = |video: usize| {
        let mut text = String::new();
        let mut i = 0;
        while text.chars().count() < args.summary_chars {
            text += &at(1 + video * 7 + i).comment;
            text.push(' ');
            i += 1;
        }
        text.chars().take(args.summary_chars).collect::<String>()
    };
    let summaries: Vec<String> = (0..args.videos).map(summary).collect();
    let count = args.requests.max(args.streams * args.per_stream);
    let mut items: Vec<Item> = Vec::with_capacity(count);
    for i in 0..count {
        let mut item = at(i).clone();
        if !summaries.is_empty() {
            item.summary.clone_from(&summaries[i % summaries.len()]);
        }
        items.push(item);
    }
    for (i, from) in duplicates(items.len(), args.duplicates.into()) {
        items[i] = items[from].clone();
    }
    Ok(items)
}

/// The comments of the data set; those that cannot be used are told.
fn comments(path: &Path, options: ReadOptions) -> Result<Vec<Item>, DatasetError> {
    let mut comments = Comments::open(path, options, false)?;
    let (mut items, mut refused) = (Vec::new(), RefusedRows::default());
    for comment in comments.by_ref() {
        match comment? {
            Ok(row) => items.push(Item {
                comment: row.text,
                title: row.video_title.unwrap_or_default(),
                summary: row.video_summary.unwrap_or_default(),
            }),
            Err(row) => refused.add(row),
        }
    }
    if items.is_empty() {
        return Err(no_rows(path.into(), &refused));
    }
    warn_refused(comments.counts(), &refused);
    Ok(items)
}

/// Requests that are none of `items`, nor share a video with them.
fn warmup(items: &[Item], count: usize) -> Vec<Item> {
    let other = |(i, item): (usize, &Item)| Item {
        comment: format!("({i}) {}", item.comment),
        title: String::new(),
        summary: String::new(),
    };
    items.iter().cycle().take(count).enumerate().map(other).collect()
}

/// Which requests repeat which earlier ones: `percent` of them, evenly spread. Each repeats one from
/// half the way back, but no more than 100: a recent one, and yet most likely answered already.
fn duplicates(requests: usize, percent: usize) -> impl Iterator<Item = (usize, usize)> {
    let due = move |i: usize| i * percent / 100;
    let repeats = (1..requests).filter(move |i| due(i + 1) > due(*i));
    repeats.map(|i| (i, i - i.div_ceil(2).min(100)))
}

async fn measure(args: &BenchArgs, items: Arc<Vec<Item>>) -> Result<Run, SessionError> {
    let mut session = Session::open(&args.answerer).await?;
    let mut server = None;
    let classifier = match &session {
        Session::Local(classifier) => Some(classifier.clone()),
        Session::Remote(_) => None,
    };
    if let (true, Some(classifier)) = (args.grpc, &classifier) {
        let (client, task) = loopback(classifier.clone()).await?;
        session = Session::Remote(Box::new(client));
        server = Some(task);
    }
    closed_loop(&session, &Arc::new(warmup(&items, args.warmup)), args.clients).await;
    let before = match &classifier {
        Some(classifier) => Some(settled(classifier).await),
        None => None,
    };
    // What answers under load may take its time.
    let session = session.patient();
    let begun = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let mut streams = JoinSet::new();
    for i in 0..args.streams {
        let (session, items, done) = (session.clone(), items.clone(), done.clone());
        let (step, least, options) = (args.streams, args.per_stream, reason_options(args));
        streams.spawn(async move { explain(session, &items, (i, step), options, (least, &done)).await });
    }
    let classified = Arc::new(items[..args.requests].to_vec());
    let mut run = match args.rate {
        Some(rate) => open_loop(&session, &classified, rate).await,
        None => closed_loop(&session, &classified, args.clients).await,
    };
    done.store(1, Ordering::Relaxed);
    for (samples, failed) in streams.join_all().await {
        run.explained.extend(samples);
        run.failed += failed;
    }
    run.elapsed = begun.elapsed();
    run.batch_size = args.answerer.options.batch_size();
    run.peak_memory = classifier.is_some().then(peak_memory).flatten();
    if let (Some(classifier), Some(before)) = (&classifier, &before) {
        run.steps = Some(difference(&settled(classifier).await, before));
    }
    if let Some(server) = server {
        server.abort();
    }
    Ok(run)
}

/// The engine's counts once the last step is among them: it answers first and counts then.
async fn settled(classifier: &Classifier) -> StepCounts {
    loop {
        let counts = classifier.engine().counts();
        tokio::time::sleep(Duration::from_millis(20)).await;
        if classifier.engine().counts() == counts {
            return counts;
        }
    }
}

/// A server on a free port of the loopback interface, and a client of it.
async fn loopback(
    classifier: Arc<Classifier>,
) -> Result<(Client, tokio::task::JoinHandle<()>), SessionError> {
    let listen = vec![Listen::Tcp("127.0.0.1".to_owned(), 0)];
    let server = Server::bind(classifier, ServerOptions { listen, ..ServerOptions::default() }).await?;
    let (host, port) = ("127.0.0.1".to_owned(), server.address().map_or(0, |address| address.port()));
    // What is measured is not cut off.
    let client = ClientOptions {
        timeout: Duration::from_secs(86_400),
        ..ClientOptions::new(Target::Tcp { host, port, tls: None })
    };
    let task = tokio::spawn(async move {
        // It runs until it is aborted; an early end shows as failed requests.
        let _ = server.run(std::future::pending(), std::future::pending()).await;
    });
    Ok((Client::connect(&client).await?, task))
}

async fn closed_loop(session: &Session, items: &Arc<Vec<Item>>, clients: usize) -> Run {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (session, items, next) = (session.clone(), items.clone(), next.clone());
        tasks.spawn(async move {
            let mut samples = Vec::new();
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                samples.push(classify(session.clone(), item).await);
            }
            samples
        });
    }
    collect(tasks.join_all().await.into_iter().flatten())
}

async fn open_loop(session: &Session, items: &Arc<Vec<Item>>, rate: f64) -> Run {
    let mut tasks = JoinSet::new();
    let mut at = tokio::time::Instant::now();
    let mut state = 1_u64;
    for i in 0..items.len() {
        let (session, items) = (session.clone(), items.clone());
        tasks.spawn(async move { classify(session, &items[i]).await });
        // Exponential gaps, from a fixed seed (Lehmer's generator with MMIX's multiplier).
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        at += Duration::from_secs_f64(-(1.0 - uniform).ln() / rate.max(1e-6));
        tokio::time::sleep_until(at).await;
    }
    collect(tasks.join_all().await.into_iter())
}

fn collect(samples: impl Iterator<Item = Option<Sample>>) -> Run {
    let mut run = Run::default();
    for sample in samples {
        match sample {
            Some(sample) => run.classified.push(sample),
            None => run.failed += 1,
        }
    }
    run
}

async fn classify(mut session: Session, item: &Item) -> Option<Sample> {
    let begun = Instant::now();
    let answer = session.classify(item.input(), false).await.ok()?;
    let total = begun.elapsed();
    Some(Sample { stats: answer.stats, total, from_cache: answer.from_cache, pieces: Vec::new() })
}

fn reason_options(args: &BenchArgs) -> RemoteReason {
    RemoteReason { max_tokens: args.max_tokens, temperature: args.temperature, seed: 0, free_answer: false }
}

/// Explains items one after the other, at least as many as wanted and until the classifications are done.
async fn explain(
    mut session: Session,
    items: &[Item],
    (first, step): (usize, usize),
    options: RemoteReason,
    (least, done): (usize, &AtomicUsize),
) -> (Vec<Sample>, usize) {
    let (mut samples, mut failed) = (Vec::new(), 0);
    let mut i = first;
    loop {
        let item = &items[i % items.len()];
        let begun = Instant::now();
        let mut sample = Sample::default();
        let answered = session
            .reason(item.input(), options, |event| match event {
                ReasonEvent::Text(_) => sample.pieces.push(begun.elapsed()),
                ReasonEvent::Done(done) => sample.stats = done.stats,
                ReasonEvent::Verdict(_) => {}
            })
            .await;
        sample.total = begun.elapsed();
        match answered {
            Ok(()) => samples.push(sample),
            Err(_) => failed += 1,
        }
        i += step;
        if done.load(Ordering::Relaxed) > 0 && samples.len() + failed >= least {
            break;
        }
    }
    (samples, failed)
}

fn difference(after: &StepCounts, before: &StepCounts) -> StepCounts {
    StepCounts {
        steps: after.steps - before.steps,
        tokens: after.tokens - before.tokens,
        outputs: after.outputs - before.outputs,
        cached: after.cached - before.cached,
        drafted: after.drafted - before.drafted,
        accepted: after.accepted - before.accepted,
        busy: after.busy - before.busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_as_many_as_asked_and_repeat_what_came_before() {
        let check = |requests, percent, expect: usize| {
            let pairs: Vec<_> = duplicates(requests, percent).collect();
            assert_eq!(pairs.len(), expect, "{percent} % of {requests}");
            assert!(pairs.iter().all(|(i, from)| from < i && i - from <= 100));
            assert!(pairs.iter().all(|(i, from)| *i < 50 || i - from >= 25));
        };
        check(100, 10, 10);
        check(1_000, 10, 100);
        check(1_000, 0, 0);
        check(1_000, 90, 900);
        check(64, 10, 6);
        check(0, 10, 0);
        assert_eq!(duplicates(30, 10).collect::<Vec<_>>(), [(9, 4), (19, 9), (29, 14)]);
    }
}
