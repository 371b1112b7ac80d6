//! A real server, with its environment and its log.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use ko_sentiment::grpc::pb::ClassifyRequest;
use ko_sentiment::grpc::pb::sentiment_service_client::SentimentServiceClient;
use tonic::Request;

use super::collector::{Collector, Manner, attributes};
use crate::support::{binary, model};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A server's command line, without variables of this environment.
fn serve() -> Command {
    let mut command = binary();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
        .args(["--log-format", "json", "serve", "--listen", "127.0.0.1:0", "--no-warm-up", "--model"])
        .arg(model());
    command.stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_turns_traces_on_and_the_log_names_them() {
    let collector = Collector::start(Manner::default()).await;
    let (name, endpoint) = collector.endpoint();
    let mut command = serve();
    command
        .env(name, endpoint)
        .env("OTEL_SERVICE_NAME", "comments")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hush");
    let mut server = command.spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    let mut log = Vec::new();
    let address = loop {
        log.push(lines.next().expect("the server ended"));
        let line: serde_json::Value = serde_json::from_str(log.last().unwrap()).unwrap();
        if line["message"] == "serving" {
            break line["address"].as_str().unwrap().to_owned();
        }
    };
    let mut client = SentimentServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut request =
        Request::new(ClassifyRequest { comment: "비밀이에요".into(), ..Default::default() });
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap());
    client.classify(request).await.unwrap();
    let killed = Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(killed.success());
    log.extend(lines);
    assert!(server.wait().unwrap().success());
    // The delay of a batch is 5 s: these came at the end.
    let spans = collector.has(3).await;
    assert!(
        spans
            .iter()
            .all(|span| span.trace_id == 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes())
    );
    let resource = collector.batches()[0].1.resource_spans[0].resource.clone().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "comments");
    let done: Vec<serde_json::Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["message"] == "done")
        .collect();
    assert_eq!(done.len(), 1, "{log:#?}");
    assert_eq!(done[0]["span"]["trace_id"], TRACE);
    assert!(log.iter().any(|line| line.contains("exporting traces")));
    assert!(log.iter().all(|line| !line.contains("비밀") && !line.contains("hush")), "{log:#?}");
}

#[test]
fn what_is_wrong_with_the_environment_ends_the_start_before_the_model_is_loaded() {
    let check = |set: &[(&str, &str)], expect: &str| {
        let output = serve().envs(set.iter().copied()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expect) && !error.contains("hush"), "{error}");
        assert!(!error.contains("model ready"), "{error}");
    };
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    check(
        &[(ENDPOINT, "http://127.0.0.1:9"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key hush")],
        "entry 1 is no header for the trace collector",
    );
    check(&[(ENDPOINT, "http://a b")], "no address of a trace collector");
    check(
        &[(ENDPOINT, "https://127.0.0.1:9"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")],
        "/nowhere/ca.pem, which cannot be read",
    );
}
