//! What the spans of a call say.

use std::collections::BTreeSet;
use std::time::Duration;

use ko_sentiment::engine::EngineConfig;
use ko_sentiment::grpc::pb::{
    ClassifyBatchRequest, ClassifyRequest, StreamReasonRequest, Video, stream_reason_response::Event,
};
use ko_sentiment::grpc::{ServerOptions, new_token};
use ko_sentiment::telemetry::Format;
use ko_sentiment::telemetry::otlp::pb::Span;
use ko_sentiment::telemetry::otlp::pb::span::SpanKind;
use ko_sentiment::telemetry::otlp::pb::status::StatusCode;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::collector::{Collector, Manner, attributes, traced, traces};
use crate::support::{Fake, TestServer};
use crate::telemetry::metrics;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// What no span may hold.
const SECRET: &str = "비밀이에요";

/// A request within the caller's trace.
fn within<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "rojo=00f067aa0ba902b7".parse().unwrap());
    request
}

fn comment(text: &str) -> ClassifyRequest {
    let summary = format!("{SECRET} 오늘은 가을 산에 올라 단풍을 보고 내려와 국밥을 먹었습니다.");
    let video = Some(Video { id: SECRET.into(), title: SECRET.into(), summary });
    ClassifyRequest { comment: format!("{SECRET} {text}"), video, ..ClassifyRequest::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name} in {spans:?}"))
}

/// The call's own span.
fn call(spans: &[Span]) -> &Span {
    spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap()
}

async fn server() -> (TestServer, Collector) {
    let collector = Collector::start(Manner::default()).await;
    let server = traced(Fake::default(), &traces(&[collector.endpoint()])).await;
    (server, collector)
}

#[tokio::test]
async fn a_call_goes_on_with_its_callers_trace() {
    let (server, collector) = server().await;
    let response =
        server.client().await.classify(within(comment("좋아요"), "01")).await.unwrap().into_inner();
    let spans = collector.has(3).await;
    let call = call(&spans);
    assert_eq!(call.name, "ko_sentiment.v1.SentimentService/Classify");
    assert_eq!((hex(&call.trace_id), hex(&call.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(call.flags, 0x301, "sampled, and its parent is another process's");
    let usage = response.usage.unwrap();
    let (prompt, cached) = (usage.prompt_tokens.to_string(), usage.cached_tokens.to_string());
    let expect = [
        ("ko_sentiment.cached_tokens", cached.as_str()),
        ("ko_sentiment.from_cache", "0"),
        ("ko_sentiment.generated_tokens", "0"),
        ("ko_sentiment.prompt_tokens", &prompt),
        ("rpc.method", "ko_sentiment.v1.SentimentService/Classify"),
        ("rpc.response.status_code", "OK"),
        ("rpc.system.name", "grpc"),
    ];
    assert_eq!(attributes(&call.attributes), expect.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(call.status.as_ref().unwrap().code(), StatusCode::Unset);
    let (queue, prefill) = (named(&spans, "queue"), named(&spans, "prefill"));
    for part in [queue, prefill] {
        assert_eq!((&part.trace_id, &part.parent_span_id), (&call.trace_id, &call.span_id));
        assert_eq!((part.kind(), part.flags), (SpanKind::Internal, 0x101));
    }
    assert!(spans.iter().all(|span| span.trace_state == "rojo=00f067aa0ba902b7"));
    assert_eq!(attributes(&queue.attributes)["ko_sentiment.class"], "interactive");
    assert_eq!(attributes(&prefill.attributes)["ko_sentiment.prompt_tokens"], prompt);
    assert_eq!(attributes(&prefill.attributes)["ko_sentiment.cached_tokens"], cached);
    assert!(call.start_time_unix_nano <= queue.start_time_unix_nano);
    assert_eq!(queue.end_time_unix_nano, prefill.start_time_unix_nano);
    assert!(prefill.start_time_unix_nano < prefill.end_time_unix_nano);
    assert!(prefill.end_time_unix_nano <= call.end_time_unix_nano);
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 8));
    let resource = collector.batches()[0].1.resource_spans[0].resource.clone().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "ko-sentiment");
    let sent = format!("{:?}", collector.batches());
    assert!(!sent.contains(SECRET) && !sent.contains("단풍") && !sent.contains("좋아요"));
}

#[tokio::test]
async fn reasons_are_queued_prefilled_and_decoded() {
    let (server, collector) = server().await;
    let ClassifyRequest { comment, video, .. } = comment("단풍이 곱네요");
    let request = StreamReasonRequest { comment, video, max_tokens: 12, ..Default::default() };
    let events = server.client().await.stream_reason(request).await.unwrap().into_inner();
    let events: Vec<_> = events.map(|event| event.unwrap().event.unwrap()).collect().await;
    let Some(Event::Done(done)) = events.last() else { panic!("{events:?}") };
    let generated = done.usage.unwrap().generated_tokens;
    let spans = collector.has(4).await;
    let (call, decode) = (call(&spans), named(&spans, "decode"));
    assert!(
        call.parent_span_id.is_empty() && call.trace_state.is_empty() && call.flags == 0x101,
        "its own trace"
    );
    assert!(generated > 0);
    assert_eq!(attributes(&decode.attributes)["ko_sentiment.generated_tokens"], generated.to_string());
    assert_eq!(attributes(&call.attributes)["ko_sentiment.generated_tokens"], generated.to_string());
    assert_eq!(decode.start_time_unix_nano, named(&spans, "prefill").end_time_unix_nano);
    assert!(decode.start_time_unix_nano < decode.end_time_unix_nano);
    assert!(decode.end_time_unix_nano <= call.end_time_unix_nano);
    assert!(spans.iter().all(|span| span.trace_id == call.trace_id));
    assert!(!format!("{:?}", collector.batches()).contains(SECRET));
}

#[tokio::test]
async fn a_batch_shows_its_first_comments_and_counts_all() {
    let (server, collector) = server().await;
    let comments = (0..40).map(|i| format!("{SECRET} {i}")).chain([String::new()]).collect();
    let batch = ClassifyBatchRequest { comments, video: None };
    server.client().await.classify_batch(within(batch, "01")).await.unwrap();
    let spans = collector.has(1 + 32 * 3).await;
    let call = call(&spans);
    assert_eq!(attributes(&call.attributes)["ko_sentiment.jobs"], "40", "the empty one was refused before");
    let comments: Vec<&Span> = spans.iter().filter(|span| span.name == "comment").collect();
    assert!(comments.len() == 32 && comments.iter().all(|comment| comment.parent_span_id == call.span_id));
    for name in ["queue", "prefill"] {
        let parents: BTreeSet<_> =
            spans.iter().filter(|span| span.name == name).map(|span| &span.parent_span_id).collect();
        assert_eq!(parents, comments.iter().map(|comment| &comment.span_id).collect(), "{name}");
    }
    let queue = named(&spans, "queue");
    assert_eq!(attributes(&queue.attributes)["ko_sentiment.class"], "bulk");
    assert!(!format!("{:?}", collector.batches()).contains(SECRET));
}

#[tokio::test]
async fn an_answer_from_the_cache_has_no_parts() {
    let (server, collector) = server().await;
    let mut client = server.client().await;
    for _ in 0..2 {
        client.classify(within(comment("또 왔어요"), "01")).await.unwrap();
    }
    let spans = collector.has(3 + 1).await;
    let from_cache = spans.iter().filter(|span| span.kind() == SpanKind::Server);
    let from_cache: BTreeSet<String> =
        from_cache.map(|span| attributes(&span.attributes)["ko_sentiment.from_cache"].clone()).collect();
    assert_eq!(from_cache, ["0", "1"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_bad_parent_begins_a_new_trace() {
    let (server, collector) = server().await;
    let mut client = server.client().await;
    let long = "0".repeat(5_000);
    let wrong = [
        "junk".to_owned(),
        format!("00-{TRACE}-{PARENT}"),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE}-{PARENT}-01-more"),
        format!("ff-{TRACE}-{PARENT}-01"),
        long,
    ];
    for (i, parent) in wrong.iter().enumerate() {
        let mut request = Request::new(comment(&format!("{i}")));
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        request.metadata_mut().insert("tracestate", "a=1".parse().unwrap());
        client.classify(request).await.unwrap();
    }
    let spans = collector.has(3 * wrong.len()).await;
    let calls: Vec<&Span> = spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    assert!(calls.iter().all(|call| call.parent_span_id.is_empty() && call.trace_state.is_empty()));
    let ids: BTreeSet<String> = calls.iter().map(|call| hex(&call.trace_id)).collect();
    assert!(ids.len() == wrong.len() && !ids.contains(TRACE), "{ids:?}");
}

#[tokio::test]
async fn the_sampler_decides_and_callers_before_it() {
    let check = async |sampler: &str, flags: Option<&str>, expect: bool| {
        let collector = Collector::start(Manner::default()).await;
        let traces = traces(&[collector.endpoint(), ("OTEL_TRACES_SAMPLER", sampler.into())]);
        let server = traced(Fake::default(), &traces).await;
        let request = flags.map_or_else(|| Request::new(comment("네")), |flags| within(comment("네"), flags));
        server.client().await.classify(request).await.unwrap();
        // The call is over for its client before the server counts it.
        server.stop.send(()).unwrap();
        server.done.await.unwrap().unwrap();
        traces.finish(Duration::from_secs(10)).await;
        assert_eq!(collector.spans().len(), if expect { 3 } else { 0 }, "{sampler} {flags:?}");
    };
    check("parentbased_always_on", None, true).await;
    check("parentbased_always_on", Some("00"), false).await;
    check("parentbased_always_off", None, false).await;
    check("parentbased_always_off", Some("01"), true).await;
    check("always_off", Some("01"), false).await;
    check("always_on", Some("00"), true).await;
}

#[tokio::test]
async fn failures_are_said_with_their_code() {
    let collector = Collector::start(Manner::default()).await;
    // Step 0 computes the instruction.
    let fake = Fake { failing: vec![1], ..Fake::default() };
    let server = traced(fake, &traces(&[collector.endpoint()])).await;
    let mut client = server.client().await;
    let failed = client.classify(within(ClassifyRequest::default(), "01")).await.unwrap_err();
    assert_eq!(failed.code(), Code::InvalidArgument);
    let spans = collector.has(1).await;
    let check = |span: &Span, code: &str, is_servers_fault: bool| {
        let attributes = attributes(&span.attributes);
        assert_eq!(attributes["rpc.response.status_code"], code);
        assert_eq!(
            attributes.get("error.type").is_some_and(|error| error == code),
            is_servers_fault,
            "{code}"
        );
        let expect = if is_servers_fault { StatusCode::Error } else { StatusCode::Unset };
        assert_eq!(span.status.as_ref().unwrap().code(), expect, "{code}");
    };
    check(&spans[0], "INVALID_ARGUMENT", false);
    let broken = ClassifyRequest { comment: SECRET.into(), ..ClassifyRequest::default() };
    assert_eq!(client.classify(within(broken, "01")).await.unwrap_err().code(), Code::Internal);
    // The queue, and a prefill that failed.
    let spans = collector.has(1 + 3).await;
    check(call(&spans[1..]), "INTERNAL", true);
    let mut other = tonic::client::Grpc::new(server.channel().await);
    other.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<ClassifyRequest, ClassifyRequest>::default();
    let path = format!("/made.up/{PARENT}").parse().unwrap();
    other.unary(within(comment("?"), "01"), path, codec).await.unwrap_err();
    let spans = collector.has(1 + 3 + 1).await;
    check(&spans[4], "UNIMPLEMENTED", true);
    assert_eq!(
        (spans[4].name.as_str(), attributes(&spans[4].attributes)["rpc.method"].as_str()),
        ("grpc", "_OTHER")
    );
}

#[tokio::test]
async fn who_waits_in_vain_is_seen_to_wait() {
    let collector = Collector::start(Manner::default()).await;
    let config = EngineConfig { parallel: 1, ..EngineConfig::default() };
    let fake = Fake { step: Duration::from_millis(300), config, ..Fake::default() };
    let server = traced(fake, &traces(&[collector.endpoint()])).await;
    let mut first = server.client().await;
    let running = tokio::spawn(async move { first.classify(comment("먼저")).await });
    while server.classifier.engine().meters().running.get() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut client = server.client().await;
    let second = tokio::spawn(async move { client.classify(within(comment("나중"), "01")).await });
    while server.classifier.engine().jobs() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.abort();
    running.await.unwrap().unwrap();
    let spans = collector.has(3 + 2).await;
    let mine: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let names: BTreeSet<&str> = mine.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["ko_sentiment.v1.SentimentService/Classify", "queue"].into());
    let call = mine.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert_eq!(attributes(&call.attributes)["rpc.response.status_code"], "CANCELLED");
}

#[tokio::test]
async fn those_who_are_not_let_in_are_traced_without_their_token() {
    let collector = Collector::start(Manner::default()).await;
    let (folder, made) = (tempfile::tempdir().unwrap(), new_token("team-a").unwrap());
    let tokens = folder.path().join("tokens.toml");
    std::fs::write(&tokens, &made.entry).unwrap();
    let tracer = traces(&[collector.endpoint()]).tracer();
    let options = ServerOptions { tokens: Some(tokens), tracer, ..ServerOptions::default() };
    let server = TestServer::start_with(Fake::default().classifier(), options).await;
    let mut client = server.client().await;
    client.classify(within(comment("?"), "01")).await.unwrap_err();
    let spans = collector.has(1).await;
    assert_eq!(attributes(&spans[0].attributes)["rpc.response.status_code"], "UNAUTHENTICATED");
    let mut request = within(comment("!"), "01");
    let bearer = format!("Bearer {}", made.token);
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    request.metadata_mut().insert("x-request-id", "my-own-id".parse().unwrap());
    client.classify(request).await.unwrap();
    let spans = collector.has(1 + 3).await;
    assert_eq!(attributes(&call(&spans[1..]).attributes)["ko_sentiment.principal"], "team-a");
    let sent = format!("{:?}", collector.batches());
    assert!(!sent.contains("kos_") && !sent.contains(&made.token) && !sent.contains("my-own-id"));
}

#[tokio::test]
async fn health_checks_are_not_traced() {
    let (server, collector) = server().await;
    HealthClient::new(server.channel().await).check(HealthCheckRequest::default()).await.unwrap();
    server.client().await.classify(comment("네")).await.unwrap();
    let spans = collector.has(3).await;
    assert!(spans.iter().all(|span| !span.name.contains("Health")));
}

#[tokio::test]
async fn slow_calls_lead_to_their_traces() {
    let check = async |server: TestServer, flags: &str, expect: bool| {
        server.client().await.classify(within(comment("네"), flags)).await.unwrap();
        let is_counted = || server.meters.methods().any(|(_, method)| method.handling.sum() > 0.0);
        while !is_counted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let text = metrics(&server).render(Format::OpenMetrics);
        let exemplars: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
        let fits = |line: &&str| {
            line.starts_with(
                "grpc_server_handling_seconds_bucket{grpc_service=\"ko_sentiment.v1.SentimentService\"",
            ) && line.contains(&format!(" # {{trace_id=\"{TRACE}\",span_id=\""))
        };
        assert_eq!(exemplars.len(), usize::from(expect), "{exemplars:?}");
        assert!(exemplars.iter().all(fits), "{exemplars:?}");
    };
    let (on, _collector) = server().await;
    check(on, "01", true).await;
    // Where this server exports nothing, the caller's trace may be kept elsewhere.
    check(TestServer::start(Fake::default().classifier()).await, "01", true).await;
    check(TestServer::start(Fake::default().classifier()).await, "00", false).await;
}
