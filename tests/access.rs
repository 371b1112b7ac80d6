//! Who may call: tokens on a real channel, their limits and their renewal.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ko_sentiment::engine::EngineConfig;
use ko_sentiment::grpc::pb::sentiment_service_client::SentimentServiceClient;
use ko_sentiment::grpc::pb::{
    ClassifyBatchRequest, ClassifyRequest, ClassifyStreamRequest, GetModelInfoRequest, StreamReasonRequest,
    item_result::Outcome,
};
use ko_sentiment::grpc::{ServerOptions, new_token};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt as _;

use crate::support::{Fake, TestServer};
use crate::transport::{Authority, ask};

/// A server with a tokens file.
struct Guarded {
    folder: tempfile::TempDir,
    server: TestServer,
}

impl Guarded {
    async fn start(fake: Fake, tokens: &str, options: ServerOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, tokens).unwrap();
        let options = ServerOptions { tokens: Some(path), ..options };
        Self { folder, server: TestServer::start_with(fake.classifier(), options).await }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn classify(&self, token: Option<&str>) -> Result<(), Status> {
        let request = with_token(token, comment("좋아요"));
        self.server.client().await.classify(request).await.map(|_| ())
    }
}

fn comment(text: &str) -> ClassifyRequest {
    ClassifyRequest { comment: text.into(), ..ClassifyRequest::default() }
}

fn with_token<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// Code and reason of a refusal, which has a request id and never the token.
fn refusal(status: &Status) -> (Code, String) {
    assert!(status.metadata().contains_key("x-request-id"));
    assert!(!status.message().contains("kos_"));
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

#[tokio::test]
async fn every_method_needs_a_token_and_health_needs_none() {
    let made = new_token("a").unwrap();
    let guarded = Guarded::start(Fake::default(), &made.entry, ServerOptions::default()).await;
    guarded.classify(Some(&made.token)).await.unwrap();
    let wrong = new_token("a").unwrap().token;
    for (token, reason) in [(None, "NO_TOKEN"), (Some(wrong.as_str()), "UNKNOWN_TOKEN")] {
        let mut client = guarded.server.client().await;
        let batch = ClassifyBatchRequest { comments: vec!["네".into()], video: None };
        let reasons = StreamReasonRequest { comment: "네".into(), ..Default::default() };
        let statuses = [
            client.classify(with_token(token, comment("네"))).await.unwrap_err(),
            client.classify_batch(with_token(token, batch)).await.unwrap_err(),
            client.stream_reason(with_token(token, reasons)).await.unwrap_err(),
            client.classify_stream(with_token(token, tokio_stream::empty())).await.unwrap_err(),
            client.get_model_info(with_token(token, GetModelInfoRequest {})).await.unwrap_err(),
        ];
        for status in &statuses {
            assert_eq!(refusal(status), (Code::Unauthenticated, reason.to_owned()));
        }
    }
    let mut health = HealthClient::new(guarded.server.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn reflection_is_open_only_if_the_operator_says_so() {
    for open_reflection in [false, true] {
        let entry = new_token("a").unwrap().entry;
        let options = ServerOptions { open_reflection, ..ServerOptions::default() };
        let guarded = Guarded::start(Fake::default(), &entry, options).await;
        let mut client = ServerReflectionClient::new(guarded.server.channel().await);
        let request = tokio_stream::once(ServerReflectionRequest::default());
        let answered = client.server_reflection_info(request).await;
        assert_eq!(answered.is_ok(), open_reflection);
    }
}

#[tokio::test]
async fn a_certificate_can_be_who_asks() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    authority.sign("a", "team-a.example");
    authority.sign("b", "team-b.example");
    let options = ServerOptions { tls: Some(authority.server(true)), ..ServerOptions::default() };
    let tokens = "[[token]]\nname = \"team-a\"\ncertificate = \"team-a.example\"\n";
    let guarded = Guarded::start(Fake::default(), tokens, options).await;
    let port = guarded.server.address.port();
    ask(&authority.client(port, Some("a"))).await.unwrap();
    let error = ask(&authority.client(port, Some("b"))).await.unwrap_err().to_string();
    assert!(error.contains("names nobody"), "{error}");
    // A client command sends its token from a file.
    let made = new_token("team-b").unwrap();
    std::fs::write(guarded.file("token"), format!("{}\n", made.token)).unwrap();
    std::fs::write(guarded.file("tokens.toml"), &made.entry).unwrap();
    let mut with_token = authority.client(port, Some("b"));
    with_token.token_file = Some(guarded.file("token"));
    let begun = Instant::now();
    while ask(&with_token).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new token is not known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask(&authority.client(port, Some("a"))).await.unwrap_err();
}

#[tokio::test]
async fn limits_hold_for_one_principal_and_say_when_to_come_back() {
    let (a, b) = (new_token("a").unwrap(), new_token("b").unwrap());
    let tokens = format!("{}concurrent = 1\ncomments_per_day = 5\n\n{}", a.entry, b.entry);
    let fake = Fake { step: Duration::from_millis(100), answer_cache: 0, ..Fake::default() };
    let guarded = Guarded::start(fake, &tokens, ServerOptions::default()).await;
    let mut client = guarded.server.client().await;
    let reasons = StreamReasonRequest { comment: "길게".into(), max_tokens: 1_000, ..Default::default() };
    let running = client.stream_reason(with_token(Some(&a.token), reasons)).await.unwrap();
    let check = |status: &Status, reason: &str| {
        assert_eq!(refusal(status), (Code::ResourceExhausted, reason.to_owned()));
        assert!(status.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    };
    check(&guarded.classify(Some(&a.token)).await.unwrap_err(), "TOO_MANY_CALLS");
    guarded.classify(Some(&b.token)).await.unwrap();
    drop(running);
    let begun = Instant::now();
    while guarded.classify(Some(&a.token)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the place is not free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two of five comments are used: four more are too many, and three are not.
    let batch = |n: usize| ClassifyBatchRequest { comments: vec!["네".into(); n], video: None };
    let refused = client.classify_batch(with_token(Some(&a.token), batch(4))).await.unwrap_err();
    check(&refused, "TOO_MANY_COMMENTS");
    client.classify_batch(with_token(Some(&a.token), batch(3))).await.unwrap();
    // In a stream, each comment for itself.
    let item = |i: u32| ClassifyStreamRequest { id: i.to_string(), request: Some(comment("네")) };
    let items = tokio_stream::iter([item(0), item(1)]);
    let mut results = client.classify_stream(with_token(Some(&a.token), items)).await.unwrap().into_inner();
    while let Some(result) = results.next().await {
        let outcome = result.unwrap().result.unwrap().outcome.unwrap();
        assert!(matches!(outcome, Outcome::Error(e) if e.code == i32::from(Code::ResourceExhausted)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_rotated_under_load_without_a_failed_call() {
    let (old, new) = (new_token("a").unwrap(), new_token("a").unwrap());
    let config = EngineConfig { max_jobs: 64, ..EngineConfig::default() };
    let guarded =
        Guarded::start(Fake { config, ..Fake::default() }, &old.entry, ServerOptions::default()).await;
    let calls = (0..8).map(|i| {
        let (channel, token) = (guarded.server.channel(), old.token.clone());
        let until = Instant::now() + Duration::from_secs(3);
        async move {
            let mut client = SentimentServiceClient::new(channel.await);
            let mut count = 0;
            while Instant::now() < until {
                let text = format!("{i} {count}");
                client.classify(with_token(Some(&token), comment(&text))).await.unwrap();
                count += 1;
            }
        }
    });
    let rotate = async {
        std::fs::write(guarded.file("tokens.toml"), format!("{}\n{}", old.entry, new.entry)).unwrap();
        while guarded.classify(Some(&new.token)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(futures_util::future::join_all(calls), rotate);
    std::fs::write(guarded.file("tokens.toml"), &new.entry).unwrap();
    let begun = Instant::now();
    while guarded.classify(Some(&old.token)).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the old token is still taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
