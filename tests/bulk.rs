//! `ClassifyStream` over many items: nothing lost or doubled, flat memory, and a sender who is held back.
//!
//! A million, and how memory goes (client and server share the process):
//! `BULK_ITEMS=1000000 cargo test --release bulk -- --nocapture`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ko_sentiment::engine::EngineConfig;
use ko_sentiment::grpc::pb::sentiment_service_client::SentimentServiceClient;
use ko_sentiment::grpc::pb::{
    ClassifyBatchRequest, ClassifyRequest, ClassifyStreamRequest, ClassifyStreamResponse,
    item_result::Outcome,
};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::support::{Fake, TestServer};

const MIB: usize = 1 << 20;

/// Resident memory of this process in MiB, where the system tells.
fn resident_mib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib >> 10)
}

/// Every hundredth item is blank, every tenth repeats one of shortly before.
fn text(i: usize) -> String {
    match i {
        i if i % 100 == 3 => " ".into(),
        i if i % 10 == 7 => format!("댓글 {}", i - 7),
        i => format!("댓글 {i}"),
    }
}

fn request(i: usize, comment: String) -> ClassifyStreamRequest {
    let request = ClassifyRequest { comment, ..ClassifyRequest::default() };
    ClassifyStreamRequest { id: i.to_string(), request: Some(request) }
}

/// Ticks off the ids of a stream's results.
struct Seen {
    ids: Vec<bool>,
    count: usize,
}

impl Seen {
    fn new(items: usize) -> Self {
        Self { ids: vec![false; items], count: 0 }
    }

    /// The next result's id and whether it is an error; `None` at the end.
    async fn next(&mut self, results: &mut Streaming<ClassifyStreamResponse>) -> Option<(usize, Outcome)> {
        let result = results.next().await?.unwrap();
        let id: usize = result.id.parse().unwrap();
        assert!(!std::mem::replace(&mut self.ids[id], true), "{id} twice");
        self.count += 1;
        Some((id, result.result.unwrap().outcome.unwrap()))
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_and_memory_stays_flat() {
    let asked: Option<usize> = std::env::var("BULK_ITEMS").ok().map(|n| n.parse().unwrap());
    let items = asked.unwrap_or(20_000);
    // Full early, so that its filling does not show as growth.
    let server = TestServer::start(Fake { answer_cache: MIB, ..Fake::default() }.classifier()).await;
    let mut client = server.client().await;
    let begun = Instant::now();
    let stream = tokio_stream::iter(0..items).map(|i| request(i, text(i)));
    let mut results = client.classify_stream(stream).await.unwrap().into_inner();
    let (mut seen, mut from_cache, mut memory) = (Seen::new(items), 0, Vec::new());
    let mut first = vec![Vec::new(); 50];
    while let Some((id, outcome)) = seen.next(&mut results).await {
        match outcome {
            Outcome::Error(error) => {
                assert_eq!((id % 100, error.code), (3, i32::from(Code::InvalidArgument)));
            }
            Outcome::Response(response) => {
                assert_ne!(id % 100, 3);
                from_cache += usize::from(response.from_cache);
                if let Some(scores) = first.get_mut(id) {
                    *scores = response.scores;
                }
            }
        }
        if [items / 10, items / 2, items].contains(&seen.count) {
            memory.push(resident_mib());
            println!("{} of {items} after {:.1?}: {:?} MiB", seen.count, begun.elapsed(), resident_mib());
        }
    }
    assert_eq!(seen.count, items);
    println!("{from_cache} from the cache");
    assert!((items / 11..=items / 10).contains(&from_cache), "{from_cache} from the cache");
    for (i, scores) in first.into_iter().enumerate().filter(|(i, _)| i % 100 != 3) {
        let alone = ClassifyRequest { comment: text(i), reproducible: true, ..Default::default() };
        assert_eq!(client.classify(alone).await.unwrap().into_inner().scores, scores, "item {i}");
    }
    // In the whole suite other tests' memory comes and goes in this process.
    if let (Some(_), [Some(early), .., Some(late)]) = (asked, &memory[..]) {
        assert!(*late <= early + 16, "memory grew: {memory:?} MiB");
    }
}

#[tokio::test]
async fn who_does_not_read_is_held_back_and_holds_up_nobody() {
    const ITEMS: usize = 10_000;
    let comment = |i: usize| format!("{i} {}", "가".repeat(100));
    let server = TestServer::start(Fake::default().classifier()).await;
    let url = format!("http://{}", server.address);
    let small = Channel::from_shared(url).unwrap().initial_stream_window_size(65_535);
    let mut client = SentimentServiceClient::new(small.connect().await.unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let stream = tokio_stream::iter(0..ITEMS).map(move |i| {
        count.fetch_add(1, Ordering::SeqCst);
        request(i, comment(i))
    });
    let mut results = client.classify_stream(stream).await.unwrap().into_inner();
    let mut last = usize::MAX;
    while std::mem::replace(&mut last, sent.load(Ordering::SeqCst)) != last {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What is on its way is bounded by HTTP/2's windows: one MiB of requests, 64 KiB of results.
    println!("{last} of {ITEMS} sent unread");
    assert!(last * comment(0).len() < 3 * MIB / 2, "{last} of {ITEMS} were sent and no result was read");
    assert_eq!(server.classifier.engine().jobs(), 0, "an answer that nobody reads holds a place");
    // Others who ask the same do not wait for the answers that the sender does not read.
    let batch = ClassifyBatchRequest { comments: (0..1_000).map(comment).collect(), video: None };
    let mut other = server.client().await;
    let answered = tokio::time::timeout(Duration::from_secs(60), other.classify_batch(batch)).await;
    assert_eq!(answered.unwrap().unwrap().into_inner().results.len(), 1_000);
    let mut seen = Seen::new(ITEMS);
    while let Some((id, outcome)) = seen.next(&mut results).await {
        assert!(matches!(outcome, Outcome::Response(_)), "{id}");
    }
    assert_eq!(seen.count, ITEMS);
}

#[tokio::test]
async fn many_calls_wait_for_room() {
    let config = EngineConfig { max_jobs: 8, ..EngineConfig::default() };
    let fake = Fake { config, step: Duration::from_millis(1), answer_cache: 0, ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let client = server.client().await;
    let calls = (0..4).map(|call| {
        let mut client = client.clone();
        async move {
            let comments = (0..100).map(|i| format!("{call}의 {i}")).collect();
            let batch = ClassifyBatchRequest { comments, video: None };
            client.classify_batch(batch).await.unwrap().into_inner().results
        }
    });
    for results in futures_util::future::join_all(calls).await {
        let answered = results.iter().filter(|r| matches!(r.outcome, Some(Outcome::Response(_)))).count();
        assert_eq!(answered, 100);
    }
    // But no longer than the caller does.
    let comments = (0..1_000).map(|i| format!("끝없는 {i}")).collect();
    let mut late = tonic::Request::new(ClassifyBatchRequest { comments, video: None });
    late.set_timeout(Duration::from_millis(30));
    let ended = tokio::time::timeout(Duration::from_secs(20), client.clone().classify_batch(late)).await;
    // Whoever sees the end of the time first: the client cancels, the server says so of each item.
    let late = match ended.expect("the call ends") {
        Err(status) => [Code::Cancelled, Code::DeadlineExceeded].contains(&status.code()),
        Ok(response) => response.into_inner().results.iter().any(|result| {
            matches!(&result.outcome, Some(Outcome::Error(e)) if e.code == i32::from(Code::DeadlineExceeded))
        }),
    };
    assert!(late);
}
