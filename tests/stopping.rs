//! How a server ends: without losing a running call, and loudly if its engine dies.

use std::time::Duration;

use ko_sentiment::grpc::ServerError;
use ko_sentiment::grpc::pb::{ClassifyRequest, StreamReasonRequest, stream_reason_response::Event};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Fake, TestServer};

#[tokio::test]
async fn running_streams_finish_and_a_watch_holds_nothing_up() {
    let fake = Fake { step: Duration::from_millis(3), ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut client = server.client().await;
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let request = StreamReasonRequest { comment: "길게".into(), max_tokens: 200, ..Default::default() };
    let mut stream = client.stream_reason(request).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();

    server.stop.send(()).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let service = HealthCheckRequest { service: "ko_sentiment.v1.SentimentService".into() };
    assert_eq!(health.check(service).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    let refused =
        client.classify(ClassifyRequest { comment: "네".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);

    let mut last = None;
    while let Some(message) = stream.next().await {
        last = message.unwrap().event;
    }
    assert!(matches!(last, Some(Event::Done(_))), "the stream was cut: {last:?}");
    // The watch is still open.
    tokio::time::timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_engines_death_ends_the_server_with_an_error() {
    let fake = Fake { failing: (1..10).collect(), ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let mut client = server.client().await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let request = ClassifyRequest { comment: "네".into(), ..Default::default() };
        codes.push(client.classify(request).await.unwrap_err().code());
    }
    assert_eq!(codes[..3], [Code::Internal; 3], "each failed step fails its own call");
    // The server's end may close the connection under the call.
    assert!(matches!(codes[3], Code::Unavailable | Code::Cancelled), "{:?}", codes[3]);
    let end = tokio::time::timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap();
    assert!(matches!(end, Err(ServerError::EngineDied)), "{end:?}");
}

#[tokio::test]
async fn a_panic_in_the_engines_thread_ends_the_server() {
    let fake = Fake { panics: true, ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        let request = ClassifyRequest { comment: "네".into(), ..Default::default() };
        assert_eq!(client.classify(request).await.unwrap_err().code(), Code::Unavailable);
    }
    let end = tokio::time::timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap();
    assert!(matches!(end, Err(ServerError::EngineDied)), "{end:?}");
}
