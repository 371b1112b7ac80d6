//! The port for operators, from the outside.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ko_sentiment::telemetry::{Metrics, Port, Readiness};

use crate::support::{Fake, binary, model};

/// Sends bytes, and returns all that comes back.
fn send(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes())
}

/// A port over a fake server's numbers.
async fn port() -> (SocketAddr, Readiness) {
    let classifier = Fake::default().classifier();
    let readiness = Readiness::default();
    let port = Port::bind("127.0.0.1:0").await.unwrap();
    let address = port.address();
    tokio::spawn(port.serve(Metrics::new(classifier, std::sync::Arc::default(), readiness.clone())));
    (address, readiness)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_methods_and_formats_are_answered() {
    let (address, _) = port().await;
    let check = |request: &str, status: &str, contains: &str| {
        let answer = send(address, format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains(contains), "{request}: {answer}");
    };
    check("GET /livez", "200", "alive");
    check("GET /metrics?x=1", "200", "content-type: text/plain; version=0.0.4; charset=utf-8");
    check("HEAD /metrics", "200", "content-length: ");
    check("POST /metrics", "405", "allow: GET, HEAD");
    check("DELETE /livez", "405", "only GET");
    for path in ["/", "/metrics/", "/debug", "/livez/../metrics", "//metrics"] {
        check(&format!("GET {path}"), "404", "try /metrics");
    }
    let open = get(address, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(
        open.contains("content-type: application/openmetrics-text; version=1.0.0")
            && open.ends_with("# EOF\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_is_between_warm_up_and_stop() {
    let (address, readiness) = port().await;
    let check = |status: &str, text: &str| {
        let answer = get(address, "/readyz", "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text), "{answer}");
    };
    check("503", "warming up");
    readiness.ready();
    check("200", "ready");
    readiness.stopping();
    check("503", "stopping");
    readiness.ready();
    check("503", "stopping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_waste_the_ports_time_are_cut_off() {
    let (address, _) = port().await;
    let long = get(address, "/metrics", &format!("X-Long: {}\r\n", "a".repeat(100_000)));
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431 "), "{long}");
    let junk = send(address, b"\x16\x03\x01 PRI * HTTP/2.0\r\n\r\n");
    assert!(junk.is_empty() || junk.starts_with("HTTP/1.1 400 "), "{junk}");
    let body = send(address, b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert!(body.starts_with("HTTP/1.1 200 "), "a body is not waited for: {body}");
    let begun = Instant::now();
    let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    let slow = send(address, b"GET /livez HTTP/1.1\r\nHost: ");
    assert!(!slow.contains("200") && begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    drop(idle);
    let again = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        get(address, "/livez", "").contains("alive")
    });
    assert!(again, "the port is still full");
}

/// A served model, killed at the end.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_server_warms_up_and_says_so() {
    let check = |flags: &[&str], warm: bool| {
        let mut command = binary();
        command.args([
            "--log-format",
            "json",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ]);
        command.args(flags).arg("--model").arg(model()).stderr(Stdio::piped());
        let mut served = Served(command.spawn().unwrap());
        let lines = BufReader::new(served.0.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut port = None;
        for line in lines {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            match line["message"].as_str() {
                Some("serving metrics") => port = Some(line["address"].as_str().unwrap().parse().unwrap()),
                Some("serving") => break,
                _ => {}
            }
        }
        let port: SocketAddr = port.expect("the metrics port is open before the server serves");
        assert!(get(port, "/readyz", "").starts_with("HTTP/1.1 200 "));
        let metrics = get(port, "/metrics", "");
        let count = |name: &str| -> f64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap().parse().unwrap()
        };
        // With a video and without, classified and explained.
        assert_eq!(count("ko_sentiment_jobs_admitted_total"), if warm { 4.0 } else { 0.0 });
        assert_eq!(count("ko_sentiment_time_to_first_token_seconds_count"), if warm { 2.0 } else { 0.0 });
        assert_eq!(count("ko_sentiment_answer_cache_misses_total"), 0.0);
        assert!(metrics.contains("ko_sentiment_verdicts_total{label=\"positive\"} 0"), "no client asked yet");
        assert!(count("process_resident_memory_bytes") > 1e7 && count("process_threads") > 1.0);
    };
    check(&[], true);
    check(&["--no-warm-up"], false);
}

#[test]
fn a_metrics_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = binary();
    command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", &address, "--model"]).arg(model());
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(&address) && error.contains("choose another with --metrics-listen"), "{error}");
}
