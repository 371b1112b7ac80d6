//! Exact repeats: answered from memory, twins computed once, and never another caller's failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ko_sentiment::engine::EngineError;
use ko_sentiment::grpc::pb::{
    ClassifyBatchRequest, ClassifyRequest, ClassifyResponse, ClassifyStreamRequest, ItemResult,
    StreamReasonRequest, Video, item_result::Outcome, stream_reason_response::Event,
};
use ko_sentiment::sentiment::classify::{Classified, Classifier, Options};
use ko_sentiment::sentiment::input::{Input, RawInput};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};

use crate::support::{Fake, TestServer};

fn comment(text: &str) -> ClassifyRequest {
    ClassifyRequest { comment: text.into(), ..ClassifyRequest::default() }
}

fn response(result: ItemResult) -> ClassifyResponse {
    match result.outcome.unwrap() {
        Outcome::Response(response) => response,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_same_texts_are_answered_from_memory() {
    let fake = Fake::default();
    let computed = fake.computed.clone();
    let server = TestServer::start(fake.classifier()).await;
    let mut client = server.client().await;
    let video = |id: &str, title: &str, summary: &str| {
        Some(Video { id: id.into(), title: title.into(), summary: summary.into() })
    };
    let with = |video| ClassifyRequest { video, ..comment("좋아요") };
    for (request, from_cache) in [
        (comment("좋아요"), false),
        (comment("좋아요"), true),
        (comment(" 좋아요\r\n"), true),
        (comment("\u{110c}\u{1169}\u{11c2}\u{110b}\u{1161}\u{110b}\u{116d}"), true),
        (with(video("v1", "", " ")), true),
        (comment("좋아요!"), false),
        (with(video("v1", "제주 여행", "")), false),
        (with(video("v2", "제주  여행", "")), true),
        (with(video("v1", "", "제주 여행")), false),
        (ClassifyRequest { reproducible: true, ..comment("좋아요") }, false),
        (ClassifyRequest { reproducible: true, ..comment("처음 온 댓글") }, false),
        (comment("처음 온 댓글"), false),
    ] {
        let before = computed.load(Ordering::SeqCst);
        let answer = client.classify(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.from_cache, from_cache, "{request:?}");
        assert_eq!(computed.load(Ordering::SeqCst) == before, from_cache, "{request:?}");
        let plain = ClassifyRequest { reproducible: true, ..request };
        let plain = client.classify(plain).await.unwrap().into_inner();
        let usage = answer.usage.unwrap();
        assert_eq!((answer.sentiment, &answer.scores), (plain.sentiment, &plain.scores));
        assert_eq!(usage.prompt_tokens, plain.usage.unwrap().prompt_tokens);
        assert_eq!(usage.cached_tokens == usage.prompt_tokens, from_cache);
        assert_eq!(answer.timings.unwrap().compute == Some(prost_types::Duration::default()), from_cache);
    }
}

#[tokio::test]
async fn batches_and_streams_share_the_memory_and_reasons_do_not() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let mut client = server.client().await;
    let comments: Vec<String> = ["가", "나", "가", "나", "다"].map(Into::into).into();
    let request = ClassifyBatchRequest { comments: comments.clone(), video: None };
    let results = client.classify_batch(request).await.unwrap().into_inner().results;
    assert_eq!(results.into_iter().filter(|r| response(r.clone()).from_cache).count(), 2);
    let items = tokio_stream::iter(comments.into_iter().chain(["라".to_owned(), "라".to_owned()]))
        .map(|text| ClassifyStreamRequest { id: text.clone(), request: Some(comment(&text)) });
    let results = client.classify_stream(items).await.unwrap().into_inner();
    let fresh: Vec<String> = results
        .map(|result| result.unwrap())
        .filter_map(|result| (!response(result.result.unwrap()).from_cache).then_some(result.id))
        .collect()
        .await;
    assert_eq!(fresh, ["라"]);
    assert!(client.classify(comment("라")).await.unwrap().into_inner().from_cache);
    let request = StreamReasonRequest { comment: "라".into(), max_tokens: 4, ..Default::default() };
    let mut events = client.stream_reason(request).await.unwrap().into_inner();
    match events.next().await.unwrap().unwrap().event.unwrap() {
        Event::Verdict(verdict) => assert!(!verdict.from_cache),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_memory_every_request_is_computed() {
    let server = TestServer::start(Fake { answer_cache: 0, ..Fake::default() }.classifier()).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        assert!(!client.classify(comment("좋아요")).await.unwrap().into_inner().from_cache);
    }
}

/// A classifier of slow steps, and the callers who ask it the same.
struct Twins {
    classifier: Arc<Classifier>,
    computed: Arc<AtomicUsize>,
}

impl Twins {
    fn new(step: Duration, failing: Vec<u64>) -> Self {
        let fake = Fake { step, failing, ..Fake::default() };
        Self { computed: fake.computed.clone(), classifier: fake.classifier() }
    }

    fn ask(&self, deadline: Option<Instant>) -> JoinHandle<Result<Classified, EngineError>> {
        let classifier = self.classifier.clone();
        let input = Input::new(RawInput { comment: "쌍둥이", ..RawInput::default() }).unwrap();
        let options = Options { deadline, ..Options::default() };
        tokio::spawn(async move { classifier.classify(&input, options).await })
    }

    /// The leader, once its step runs, and a follower that waits for it.
    async fn leader_and_follower(&self) -> [JoinHandle<Result<Classified, EngineError>>; 2] {
        let leader = self.ask(None);
        while self.computed.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let follower = self.ask(None);
        tokio::task::yield_now().await;
        [leader, follower]
    }
}

#[tokio::test]
async fn twins_are_computed_once() {
    let twins = Twins::new(Duration::from_millis(50), Vec::new());
    let asked: Vec<_> = (0..20).map(|_| twins.ask(None)).collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap().unwrap());
    }
    let leaders: Vec<_> = answers.iter().filter(|answer| !answer.from_cache).collect();
    let [leader] = leaders[..] else { panic!("{} were computed", leaders.len()) };
    assert!(answers.iter().all(|answer| answer.verdict == leader.verdict));
    // A step reads the own part of one prompt and the labels, all but their last tokens.
    let labels = 3 * ("긍정".len() - 1);
    let own = leader.stats.prompt_tokens - leader.stats.cached_tokens;
    assert_eq!(twins.computed.load(Ordering::SeqCst), own + labels);
}

#[tokio::test]
async fn a_follower_takes_over_from_a_cancelled_leader() {
    let twins = Twins::new(Duration::from_millis(100), Vec::new());
    let [leader, follower] = twins.leader_and_follower().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert!(!follower.await.unwrap().unwrap().from_cache);
    assert!(twins.ask(None).await.unwrap().unwrap().from_cache);
}

#[tokio::test]
async fn a_failure_is_its_own_callers_alone_and_is_forgotten() {
    // The step of the pinned prompt is number 0.
    let twins = Twins::new(Duration::from_millis(50), vec![1, 3]);
    let [leader, follower] = twins.leader_and_follower().await;
    assert_eq!(leader.await.unwrap(), Err(EngineError::Decode(-3)));
    assert!(!follower.await.unwrap().unwrap().from_cache);
    assert!(twins.ask(None).await.unwrap().unwrap().from_cache);
}

#[tokio::test]
async fn a_follower_keeps_its_own_deadline() {
    let twins = Twins::new(Duration::from_millis(400), Vec::new());
    let [leader, follower] = twins.leader_and_follower().await;
    let hurried = twins.ask(Some(Instant::now() + Duration::from_millis(20)));
    assert_eq!(hurried.await.unwrap(), Err(EngineError::DeadlineExceeded));
    assert!(!leader.is_finished() && !follower.is_finished(), "the step still ran");
    assert!(!leader.await.unwrap().unwrap().from_cache);
    assert!(follower.await.unwrap().unwrap().from_cache);
}

#[tokio::test]
async fn a_leaders_deadline_is_not_its_followers() {
    let fake = Fake { step: Duration::from_millis(400), ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let mut hurried = Request::new(comment("쌍둥이"));
    hurried.set_timeout(Duration::from_millis(100));
    let (mut first, mut second) = (server.client().await, server.client().await);
    let leader = tokio::spawn(async move { first.classify(hurried).await });
    while server.classifier.engine().jobs() == 0 && !leader.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let follower = second.classify(comment("쌍둥이")).await.unwrap().into_inner();
    assert_eq!(leader.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    assert!(!follower.from_cache);
}
