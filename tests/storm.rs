//! The engine under a storm: a small cache, more videos than fit, twins, cancelled requests, reasons beside scores, and
//! labels of one to five tokens. Each answer must be what the same request gets alone.
//!
//! `make storm` sends more: `STORM_REQUESTS=2000 cargo test --release storm -- --nocapture`

use std::sync::Arc;
use std::time::Duration;

use ko_sentiment::engine::{EngineConfig, Share};
use ko_sentiment::load::{LoadOptions, load};
use ko_sentiment::sentiment::classify::{Classifier, Options, ReasonEvent, ReasonOptions};
use ko_sentiment::sentiment::input::{Input, RawInput};
use ko_sentiment::sentiment::labels::Sentiment;
use ko_sentiment::sentiment::profile::{DEFAULT_TOML, Profile};
use tokio::task::JoinSet;

use crate::support::model;

/// Nats that other requests in a step may move a label that has a chance.
const TOLERANCE: f64 = 0.75;
/// Labels less likely than the best by more nats are left out: rounding moves them most, and they decide nothing.
const CHANCE: f64 = 8.0;
const DIFFERENT: usize = 24;
const VIDEOS: usize = 7;
const AT_ONCE: usize = 12;

fn profile(labels: [&str; 3]) -> Profile {
    let [positive, neutral, negative] = labels;
    let text = DEFAULT_TOML
        .replace("positive = \"긍정\"", &format!("positive = \"{positive}\""))
        .replace("neutral = \"중립\"", &format!("neutral = \"{neutral}\""))
        .replace("negative = \"부정\"", &format!("negative = \"{negative}\""));
    Profile::from_toml(&text).unwrap()
}

fn classifier(profile: &Profile, context: usize, engine: EngineConfig) -> Arc<Classifier> {
    let options = LoadOptions {
        profile: Some(profile.clone()),
        context,
        engine,
        answer_cache: 0,
        ..LoadOptions::default()
    };
    Arc::new(load(&model(), options).unwrap())
}

/// The `i`-th of the different requests.
fn request(i: usize) -> Input {
    let moods =
        ["정말 감동이었어요", "광고가 너무 많네요", "몇 시에 하나요?", "ㅋㅋㅋㅋ 미쳤다", "소리가 안 들려요"];
    let comment = format!("{} {}", moods[i % moods.len()], "다음 편도 볼게요. ".repeat(i % 4));
    let title = format!("{}번째 영상", i % VIDEOS);
    let summary = format!("{}번째 영상에서는 가족이 산에 올라 사진을 찍고 내려와 국밥을 먹는다.", i % VIDEOS);
    let (title, summary) = if i.is_multiple_of(3) { ("", "") } else { (title.as_str(), summary.as_str()) };
    Input::new(RawInput { comment: &comment, title, summary, video_id: "" }).unwrap()
}

/// What became of one request of the storm.
enum Outcome {
    Answered(usize, [f64; 3]),
    Cancelled,
}

/// The `n`-th request: a score, a score that nobody waits for, or a score with reasons, to the end or not.
async fn send(classifier: Arc<Classifier>, n: usize) -> Outcome {
    let i = n * 7 % DIFFERENT;
    let patience = Duration::from_millis(if n % 5 == 4 { 30 * (n as u64 % 7) } else { 600_000 });
    let answer = async {
        if n % 6 != 5 {
            return classifier.classify(&request(i), Options::default()).await.unwrap().verdict.log_probs;
        }
        let options = ReasonOptions {
            deadline: None,
            max_tokens: 8,
            temperature: 0.0,
            seed: 0,
            free_answer: false,
            share: Share::default(),
        };
        let mut stream = classifier.reason(&request(i), options).unwrap();
        let mut log_probs = None;
        while let Some(event) = stream.next().await {
            if let ReasonEvent::Verdict(classified) = event.unwrap() {
                log_probs = Some(classified.verdict.log_probs);
            }
        }
        log_probs.unwrap()
    };
    match tokio::time::timeout(patience, answer).await {
        Ok(log_probs) => Outcome::Answered(i, log_probs),
        Err(_) => Outcome::Cancelled,
    }
}

/// The largest move of a label that has a chance, in nats.
fn moved(alone: &[f64; 3], got: &[f64; 3]) -> f64 {
    let best = alone.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pairs = alone.iter().zip(got).filter(|(a, _)| **a > best - CHANCE);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn gap(log_probs: &[f64; 3]) -> f64 {
    let mut sorted = *log_probs;
    sorted.sort_by(f64::total_cmp);
    sorted[2] - sorted[1]
}

fn best(log_probs: &[f64; 3]) -> Sentiment {
    let by_score = |a: &Sentiment, b: &Sentiment| log_probs[a.index()].total_cmp(&log_probs[b.index()]);
    Sentiment::ALL.into_iter().max_by(by_score).unwrap()
}

async fn storm(name: &str, labels: [&str; 3], requests: usize) {
    let profile = profile(labels);
    let quiet = classifier(&profile, 16_384, EngineConfig::default());
    let mut alone = Vec::new();
    for i in 0..DIFFERENT {
        alone.push(quiet.classify(&request(i), Options::default()).await.unwrap().verdict.log_probs);
    }
    drop(quiet);
    let small = EngineConfig { parallel: 6, videos: 3, max_request_tokens: 1024, ..EngineConfig::default() };
    let busy = classifier(&profile, 1400, small);
    let (mut running, mut next) = (JoinSet::new(), 0);
    let (mut answered, mut cancelled, mut worst) = (0, 0, 0.0_f64);
    while next < requests || !running.is_empty() {
        while next < requests && running.len() < AT_ONCE {
            running.spawn(send(busy.clone(), next));
            next += 1;
        }
        let Outcome::Answered(i, got) = running.join_next().await.unwrap().unwrap() else {
            cancelled += 1;
            continue;
        };
        answered += 1;
        let by = moved(&alone[i], &got);
        worst = worst.max(by);
        assert!(by < TOLERANCE, "{name}, request {i}: {:?} alone, {got:?} in the storm", alone[i]);
        let flipped = best(&alone[i]) != best(&got);
        assert!(!flipped || gap(&alone[i]) < 2.0 * TOLERANCE, "{name}, request {i} has another verdict");
    }
    assert_eq!(answered + cancelled, requests);
    // Nothing of it is left: a request after the storm is answered as before.
    let after = busy.classify(&request(1), Options::default()).await.unwrap().verdict.log_probs;
    assert!(moved(&alone[1], &after) < TOLERANCE);
    println!("{name}: {answered} answered, {cancelled} cancelled, moved by at most {worst:.3} nats");
}

#[tokio::test(flavor = "multi_thread")]
async fn storm_answers_are_those_of_quiet() {
    let requests = std::env::var("STORM_REQUESTS").map_or(36, |n| n.parse().unwrap());
    storm("two tokens a label", ["긍정", "중립", "부정"], requests).await;
    storm("one token a label", ["A", "B", "C"], requests).await;
    storm("labels of one to five tokens", ["good", "neither good nor bad", "나쁨입니다"], requests).await;
}
