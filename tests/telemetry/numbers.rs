//! The numbers move as they should after calls that are known.

use std::time::Duration;

use ko_sentiment::grpc::pb::{ClassifyBatchRequest, ClassifyRequest, StreamReasonRequest, Video};
use ko_sentiment::grpc::{ServerOptions, new_token};
use ko_sentiment::sentiment::profile::Profile;
use ko_sentiment::telemetry::Format;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};

use super::exposition::{metrics, read};
use crate::support::{Fake, TestServer};
use crate::transport::Authority;

/// The sum of all samples of this name that have these labels.
fn value(server: &TestServer, name: &str, labels: &[(&str, &str)]) -> f64 {
    let families = read(&metrics(server).render(Format::Prometheus));
    let samples = families.values().flat_map(|family| &family.samples);
    let fits = |(sample, found, _): &&(String, std::collections::BTreeMap<String, String>, f64)| {
        sample == name && labels.iter().all(|(label, value)| found.get(*label).is_some_and(|v| v == value))
    };
    samples.filter(fits).map(|(_, _, value)| value).sum()
}

/// Waits until a value is there: what a client has read may be counted a moment later.
async fn reaches(server: &TestServer, name: &str, labels: &[(&str, &str)], expect: f64) {
    for _ in 0..500 {
        if (value(server, name, labels) - expect).abs() < 1e-9 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(value(server, name, labels), expect, "{name} {labels:?}");
}

fn comment(text: &str) -> ClassifyRequest {
    ClassifyRequest { comment: text.into(), ..ClassifyRequest::default() }
}

const CLASSIFY: (&str, &str) = ("grpc_method", "Classify");

#[tokio::test]
async fn calls_verdicts_and_the_cache_are_counted() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let mut client = server.client().await;
    for text in ["좋아요", "그냥 그래요", "별로예요", "좋아요"] {
        client.classify(comment(text)).await.unwrap();
    }
    client.classify(comment("")).await.unwrap_err();
    reaches(&server, "grpc_server_handled_total", &[CLASSIFY, ("grpc_code", "OK")], 4.0).await;
    reaches(&server, "grpc_server_handled_total", &[CLASSIFY, ("grpc_code", "InvalidArgument")], 1.0).await;
    for (name, labels, expect) in [
        ("grpc_server_handled_total", &[][..], 5.0),
        ("grpc_server_started_total", &[CLASSIFY], 5.0),
        ("grpc_server_handling_seconds_count", &[CLASSIFY], 5.0),
        ("ko_sentiment_refused_total", &[("reason", "invalid_request")], 1.0),
        ("ko_sentiment_refused_total", &[], 1.0),
        ("ko_sentiment_verdicts_total", &[], 4.0),
        ("ko_sentiment_abstained_total", &[], 0.0),
        ("ko_sentiment_top_probability_ratio_count", &[], 4.0),
        ("ko_sentiment_answer_cache_hits_total", &[], 1.0),
        ("ko_sentiment_answer_cache_misses_total", &[], 3.0),
        ("ko_sentiment_jobs_admitted_total", &[], 3.0),
        ("ko_sentiment_jobs_ended_total", &[("outcome", "done")], 3.0),
        ("ko_sentiment_queue_wait_seconds_count", &[], 3.0),
        ("ko_sentiment_jobs_waiting", &[], 0.0),
        ("ko_sentiment_tokens_decoded_total", &[], 0.0),
        ("ko_sentiment_connections", &[], 1.0),
    ] {
        reaches(&server, name, labels, expect).await;
    }
    let steps = value(&server, "ko_sentiment_step_seconds_count", &[]);
    assert_eq!(steps, server.classifier.engine().counts().steps as f64);
    let computed = server.classifier.engine().counts().tokens as f64;
    assert_eq!(value(&server, "ko_sentiment_tokens_prefilled_total", &[]), computed);
    assert_eq!(value(&server, "ko_sentiment_batch_fill_ratio_sum", &[]), computed / 1024.0);
    let mean = value(&server, "ko_sentiment_top_probability_ratio_sum", &[]) / 4.0;
    assert!((1.0 / 3.0..=1.0).contains(&mean), "{mean}");
}

#[tokio::test]
async fn a_withheld_verdict_is_no_labels() {
    let mut profile = Profile::from_toml(ko_sentiment::sentiment::profile::DEFAULT_TOML).unwrap();
    profile.calibration.abstain_below = 1.0;
    let server = TestServer::start(Fake { profile, ..Fake::default() }.classifier()).await;
    server.client().await.classify(comment("글쎄요")).await.unwrap();
    assert_eq!(value(&server, "ko_sentiment_abstained_total", &[]), 1.0);
    assert_eq!(value(&server, "ko_sentiment_verdicts_total", &[]), 0.0);
}

#[tokio::test]
async fn texts_videos_and_items_are_counted() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let mut client = server.client().await;
    let summary = "오늘은 가을 산에 올라 단풍을 보고 내려와 국밥을 먹었습니다.".to_owned();
    let video = Some(Video { id: String::new(), title: "가을 산행".into(), summary });
    let reasons = StreamReasonRequest {
        comment: "단풍이 곱네요".into(),
        video: video.clone(),
        max_tokens: 12,
        ..Default::default()
    };
    let events: Vec<_> = client.stream_reason(reasons).await.unwrap().into_inner().collect().await;
    assert!(events.iter().all(Result::is_ok));
    let method = ("grpc_method", "StreamReason");
    reaches(&server, "grpc_server_handled_total", &[method, ("grpc_code", "OK")], 1.0).await;
    let comments = ["가고 싶어요", "", "  "].map(str::to_owned).into();
    client.classify_batch(ClassifyBatchRequest { comments, video }).await.unwrap();
    for (name, labels, expect) in [
        ("ko_sentiment_time_to_first_token_seconds_count", &[][..], 1.0),
        ("ko_sentiment_verdicts_total", &[], 2.0),
        ("ko_sentiment_item_errors_total", &[("grpc_code", "InvalidArgument")], 2.0),
        ("ko_sentiment_item_errors_total", &[], 2.0),
        ("ko_sentiment_refused_total", &[("reason", "invalid_request")], 2.0),
        ("ko_sentiment_videos_cached", &[], 1.0),
        ("ko_sentiment_videos_evicted_total", &[], 0.0),
        ("ko_sentiment_kv_cells", &[], 65_536.0),
    ] {
        reaches(&server, name, labels, expect).await;
    }
    let gaps = value(&server, "ko_sentiment_time_between_tokens_seconds_count", &[]);
    let decoded = value(&server, "ko_sentiment_tokens_decoded_total", &[]);
    assert!(decoded > 0.0 && (decoded - gaps).abs() <= 1.0, "{decoded} decoded, {gaps} gaps");
    assert!(value(&server, "ko_sentiment_tokens_reused_total", &[]) > 0.0);
    let cells = value(&server, "ko_sentiment_kv_cells_used", &[]);
    assert!(cells > 0.0 && cells < 65_536.0, "the pinned prompt and a video: {cells}");
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_such() {
    let fake = Fake { step: Duration::from_millis(5), ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let request = StreamReasonRequest { comment: "길게".into(), max_tokens: 2_000, ..Default::default() };
    let mut stream = server.client().await.stream_reason(request).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    assert_eq!(value(&server, "ko_sentiment_jobs_running", &[]), 1.0);
    drop(stream);
    reaches(&server, "ko_sentiment_jobs_ended_total", &[("outcome", "cancelled")], 1.0).await;
    reaches(&server, "grpc_server_handled_total", &[("grpc_code", "Canceled")], 1.0).await;
    reaches(&server, "ko_sentiment_jobs_running", &[], 0.0).await;
    let mut request = Request::new(comment("늦었다"));
    request.set_timeout(Duration::from_millis(1));
    let late = server.client().await.classify(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled));
    reaches(&server, "ko_sentiment_jobs_waiting", &[], 0.0).await;
}

#[tokio::test]
async fn what_clients_make_up_is_no_label() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let mut client = tonic::client::Grpc::new(server.channel().await);
    for path in ["/made.up.Service/Secret", "/ko_sentiment.v1.SentimentService/Secret"] {
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ClassifyRequest, ClassifyRequest>::default();
        let path = path.parse().unwrap();
        client.unary(Request::new(comment("비밀")), path, codec).await.unwrap_err();
    }
    let unknown = [("grpc_service", "unknown"), ("grpc_method", "unknown"), ("grpc_code", "Unimplemented")];
    reaches(&server, "grpc_server_handled_total", &unknown, 2.0).await;
    let text = metrics(&server).render(Format::OpenMetrics);
    assert!(!text.contains("Secret") && !text.contains("비밀") && !text.contains("made"));
}

#[tokio::test]
async fn principals_reloads_and_the_certificate_are_shown() {
    let (authority, made) = (Authority::new(), new_token("team-a").unwrap());
    authority.sign("server", "localhost");
    let tokens = authority.path("tokens.toml");
    std::fs::write(&tokens, &made.entry).unwrap();
    let tls = Some(authority.server(false));
    let options = ServerOptions { tls, tokens: Some(tokens.clone()), ..ServerOptions::default() };
    let server = TestServer::start_with(Fake::default().classifier(), options).await;
    let mut options = authority.client(server.address.port(), None);
    crate::transport::ask(&options).await.unwrap_err();
    let secret = authority.path("token");
    std::fs::write(&secret, &made.token).unwrap();
    options.token_file = Some(secret);
    crate::transport::ask(&options).await.unwrap();
    let mine = [("principal", "team-a")];
    for (name, labels, expect) in [
        ("ko_sentiment_principal_calls_total", &mine[..], 1.0),
        ("ko_sentiment_principal_comments_total", &mine, 1.0),
        ("ko_sentiment_refused_total", &[("reason", "no_token")], 1.0),
        ("grpc_server_handled_total", &[("grpc_code", "Unauthenticated")], 1.0),
    ] {
        reaches(&server, name, labels, expect).await;
    }
    let ends = value(&server, "ko_sentiment_certificate_expiry_timestamp_seconds", &[]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(ends > now, "{ends}");
    std::fs::write(&tokens, "junk").unwrap();
    reaches(&server, "ko_sentiment_reloads_total", &[("kind", "tokens"), ("outcome", "failed")], 1.0).await;
    authority.sign("server", "localhost");
    let done = [("kind", "certificates"), ("outcome", "done")];
    for _ in 0..1_000 {
        if value(&server, "ko_sentiment_reloads_total", &done) >= 1.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(value(&server, "ko_sentiment_reloads_total", &done) >= 1.0);
    let text = metrics(&server).render(Format::Prometheus);
    assert!(!text.contains("kos_") && !text.contains(&made.token));
}
