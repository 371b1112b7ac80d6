//! Spans reach a collector in whatever state it is, and no call waits for it.

use std::time::Duration;

use ko_sentiment::grpc::pb::ClassifyRequest;
use ko_sentiment::telemetry::otlp::{Settings, Traces};
use ko_sentiment::trace::{Loss, TraceMeters};

use super::collector::{Collector, Manner, traced, traces};
use crate::support::{Fake, TestServer};
use crate::telemetry::metrics;
use crate::transport::Authority;

/// Asks for several comments, one after the other; each call has three spans.
async fn ask(server: &TestServer, calls: usize) {
    let mut client = server.client().await;
    for i in 0..calls {
        client
            .classify(ClassifyRequest { comment: format!("{calls}개 중 {i}번"), ..Default::default() })
            .await
            .unwrap();
    }
}

/// Waits until so many spans were lost for this reason.
async fn lost(meters: &TraceMeters, loss: Loss, expect: u64) {
    for _ in 0..1_000 {
        if meters.lost(loss).get() >= expect {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(meters.lost(loss).get(), expect, "{loss:?}");
}

#[tokio::test]
async fn nothing_is_sent_unless_asked_for() {
    let collector = Collector::start(Manner::default()).await;
    let off = [
        vec![],
        vec![collector.endpoint(), ("OTEL_SDK_DISABLED", "true".into())],
        vec![collector.endpoint(), ("OTEL_TRACES_EXPORTER", "none".into())],
    ];
    for variables in off {
        let traces = traces(&variables);
        let server = traced(Fake::default(), &traces).await;
        ask(&server, 2).await;
        traces.finish(Duration::from_secs(10)).await;
    }
    assert_eq!((collector.asked(), collector.spans().len()), (0, 0));
}

#[tokio::test]
async fn what_waits_is_sent_at_the_end() {
    let collector = Collector::start(Manner::default()).await;
    let traces = traces(&[
        collector.endpoint(),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000".into()),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4".into()),
    ]);
    let server = traced(Fake::default(), &traces).await;
    ask(&server, 3).await;
    server.stop.send(()).unwrap();
    server.done.await.unwrap().unwrap();
    // Two batches were full; one span would wait for an hour.
    collector.has(8).await;
    let meters = traces.tracer().meters();
    traces.finish(Duration::from_secs(10)).await;
    let sizes: Vec<usize> = collector
        .batches()
        .iter()
        .map(|(_, batch)| batch.resource_spans[0].scope_spans[0].spans.len())
        .collect();
    assert_eq!(sizes, [4, 4, 1]);
    assert_eq!(meters.exported.get(), 9);
}

#[tokio::test]
async fn headers_and_compression_are_as_asked_for() {
    let collector = Collector::start(Manner::default()).await;
    let traces = traces(&[
        collector.endpoint(),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,X-Team=a".into()),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip".into()),
    ]);
    ask(&traced(Fake::default(), &traces).await, 1).await;
    collector.has(3).await;
    let metadata = &collector.batches()[0].0;
    for (name, expect) in [("authorization", "Bearer abc"), ("x-team", "a"), ("grpc-encoding", "gzip")] {
        assert_eq!(metadata.get(name).unwrap(), expect, "{name}");
    }
}

#[tokio::test]
async fn the_collector_s_certificate_is_checked() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let read = |name: &str| std::fs::read_to_string(authority.path(name)).unwrap();
    let identity = Some((read("server.pem"), read("server.key")));
    let collector = Collector::start(Manner { identity, ..Manner::default() }).await;
    let endpoint = format!("https://localhost:{}", collector.address.port());
    let variables = |more: &[(&'static str, String)]| {
        let own = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone());
        [&[own, ("OTEL_EXPORTER_OTLP_TIMEOUT", "500".into())], more].concat()
    };
    let unknown = traces(&variables(&[]));
    ask(&traced(Fake::default(), &unknown).await, 1).await;
    lost(&unknown.tracer().meters(), Loss::ExportFailed, 3).await;
    assert_eq!(collector.asked(), 0);
    let ca = authority.path("ca.pem").to_str().unwrap().to_owned();
    let known = traces(&variables(&[
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000".into()),
    ]));
    ask(&traced(Fake::default(), &known).await, 1).await;
    collector.has(3).await;
    let missing = authority.path("missing.pem").to_str().unwrap().to_owned();
    let set = variables(&[("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", missing)]);
    let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
    let error = Traces::start(&Settings::read(&get).unwrap().0.unwrap()).err().unwrap().to_string();
    assert!(
        error.contains("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE") && error.contains("missing.pem"),
        "{error}"
    );
}

#[tokio::test]
async fn a_busy_collector_is_asked_again() {
    let collector = Collector::start(Manner { busy_for: 2, ..Manner::default() }).await;
    let traces = traces(&[collector.endpoint()]);
    ask(&traced(Fake::default(), &traces).await, 1).await;
    collector.has(3).await;
    assert_eq!(collector.asked(), 3);
    assert_eq!(traces.tracer().meters().lost(Loss::ExportFailed).get(), 0);
}

#[tokio::test]
async fn spans_that_the_collector_refuses_are_counted() {
    let collector = Collector::start(Manner { rejects: 2, ..Manner::default() }).await;
    let traces = traces(&[collector.endpoint(), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3".into())]);
    let server = traced(Fake::default(), &traces).await;
    ask(&server, 1).await;
    lost(&server.meters.traces, Loss::Rejected, 2).await;
    assert_eq!(server.meters.traces.exported.get(), 1);
}

#[tokio::test]
async fn a_collector_that_is_down_costs_spans_and_no_calls() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let traces = traces(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{free}")),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "100".into()),
    ]);
    let server = traced(Fake::default(), &traces).await;
    ask(&server, 20).await;
    lost(&server.meters.traces, Loss::ExportFailed, 60).await;
    let text = metrics(&server).render(ko_sentiment::telemetry::Format::Prometheus);
    assert!(text.contains("ko_sentiment_spans_dropped_total{reason=\"export_failed\"} 60\n"), "{text}");
    assert!(text.contains("ko_sentiment_spans_exported_total 0\n"));
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_nothing() {
    let collector = Collector::start(Manner { hangs: true, ..Manner::default() }).await;
    let traces = traces(&[
        collector.endpoint(),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000".into()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10".into()),
    ]);
    let server = traced(Fake::default(), &traces).await;
    ask(&server, 1).await;
    // The first call's spans are under way, for an hour.
    tokio::time::sleep(Duration::from_millis(200)).await;
    ask(&server, 20).await;
    // Three calls fit the queue; of the others, no span alone was kept.
    lost(&server.meters.traces, Loss::QueueFull, 3 * (20 - 3)).await;
    let begun = std::time::Instant::now();
    traces.finish(Duration::from_millis(300)).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "the end waits for its limit, not for the collector");
}
