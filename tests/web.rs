//! The port for browsers: the page, its headers, and grpc-web calls through the same door as gRPC's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ko_sentiment::grpc::pb::stream_reason_response::Event;
use ko_sentiment::grpc::pb::{
    ClassifyBatchRequest, ClassifyBatchResponse, ClassifyRequest, ClassifyResponse, StreamReasonRequest,
    StreamReasonResponse,
};
use ko_sentiment::grpc::{CODES, ConnectionLimits, ServerOptions, new_token};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{Fake, TestServer, binary, model};
use crate::transport::Authority;

const OURS: &str = "/ko_sentiment.v1.SentimentService";
const CALL: &str = "Content-Type: application/grpc-web+proto\r\n";

async fn start(fake: Fake, options: ServerOptions) -> (TestServer, SocketAddr) {
    let web = vec!["127.0.0.1:0".parse().unwrap()];
    let server = TestServer::start_with(fake.classifier(), ServerOptions { web, ..options }).await;
    let address = server.web.unwrap();
    (server, address)
}

/// A response, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The messages of a grpc-web body, and its trailers.
    fn frames(&self) -> (Vec<&[u8]>, String) {
        let (mut messages, mut trailers, mut rest) = (Vec::new(), String::new(), &self.body[..]);
        while let [kind, a, b, c, d, tail @ ..] = rest {
            let (frame, tail) = tail.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            assert!(trailers.is_empty(), "nothing follows the trailers");
            match kind {
                0 => messages.push(frame),
                0x80 => trailers = String::from_utf8(frame.to_vec()).unwrap(),
                other => panic!("a frame of kind {other}"),
            }
            rest = tail;
        }
        assert!(rest.is_empty());
        (messages, trailers)
    }

    /// The code, from the trailers or, where there is no message, from the headers.
    fn code(&self) -> &'static str {
        let (_, trailers) = self.frames();
        let lines = trailers.lines().chain(self.head.lines());
        let code = lines.filter_map(|line| line.strip_prefix("grpc-status:")).next();
        CODES[code.unwrap_or_else(|| panic!("no code: {self:?}")).trim().parse::<usize>().unwrap()]
    }

    fn message<M: Message + Default>(&self) -> M {
        M::decode(self.frames().0[0]).unwrap()
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a response's head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        let (mut rest, mut whole) = (&body[..], Vec::new());
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if size == 0 {
                break;
            }
            whole.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 2 + size + 2..];
        }
        body = whole;
    }
    Answer { status, head, body }
}

async fn over<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    read.expect("an answer in time")?;
    Ok(bytes)
}

fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

async fn send(address: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    parse(&over(stream, &request(line, headers, body)).await.unwrap())
}

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat()
}

fn comment(text: &str) -> Vec<u8> {
    framed(&ClassifyRequest { comment: text.into(), ..ClassifyRequest::default() })
}

async fn call(address: SocketAddr, method: &str, headers: &str, body: &[u8]) -> Answer {
    send(address, &format!("POST {OURS}/{method}"), &format!("{CALL}{headers}"), body).await
}

#[tokio::test]
async fn the_page_has_its_types_tags_and_a_strict_policy() {
    let (_server, address) = start(Fake::default(), ServerOptions::default()).await;
    for (path, content_type, contains) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/?language=ko", "text/html; charset=utf-8", "<!doctype html>"),
        ("/page.js", "text/javascript; charset=utf-8", "application/grpc-web+proto"),
        ("/page.css", "text/css; charset=utf-8", "prefers-color-scheme:dark"),
        ("/icon.svg", "image/svg+xml", "<svg"),
        ("/licences.txt", "text/plain; charset=utf-8", "papaparse"),
    ] {
        let answer = send(address, &format!("GET {path}"), "", b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains(contains), "{path}");
        let tag = answer.header("etag").unwrap();
        for (known, status) in [(tag, 304), (&format!("\"x\", W/{tag}"), 304), ("*", 304), ("\"x\"", 200)] {
            let again =
                send(address, &format!("GET {path}"), &format!("If-None-Match: {known}\r\n"), b"").await;
            assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{path}: {known}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        let head = send(address, &format!("HEAD {path}"), "", b"").await;
        assert_eq!(head.header("content-length"), Some(answer.body.len().to_string().as_str()));
        assert!(head.body.is_empty());
    }
    let refused = send(address, "GET /nothing", "", b"").await;
    let called = call(address, "Classify", "", &comment("네")).await;
    for answer in [send(address, "GET /", "", b"").await, refused, called] {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe-") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value));
        }
        assert!(answer.header("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_meant_is_refused() {
    let (server, address) = start(Fake::default(), ServerOptions::default()).await;
    let check = async |line: &str, headers: &str, status: u16, allow: Option<&str>| {
        let answer = send(address, line, headers, &comment("네")).await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{line} {headers}");
    };
    let classify = format!("POST {OURS}/Classify");
    for path in ["/nothing", "/index.html", "/page.js/", "/../page.js", "//", "/metrics", "/web/dist/page.js"]
    {
        check(&format!("GET {path}"), "", 404, None).await;
    }
    check("POST /", CALL, 405, Some("GET, HEAD")).await;
    check("OPTIONS /page.js", "", 405, Some("GET, HEAD")).await;
    check(&format!("GET {OURS}/Classify"), CALL, 405, Some("POST")).await;
    let preflight = "Origin: http://a.example\r\nAccess-Control-Request-Method: POST\r\n";
    check(&format!("OPTIONS {OURS}/Classify"), preflight, 405, Some("POST")).await;
    for service in ["grpc.health.v1.Health/Check", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
    {
        check(&format!("POST /{service}"), CALL, 404, None).await;
    }
    for content_type in
        ["", "text/plain", "application/grpc", "application/grpc-web-text", "application/grpc-web+json"]
    {
        check(&classify, &format!("Content-Type: {content_type}\r\n"), 415, None).await;
    }
    for from in ["Origin: http://b.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        check(&classify, &format!("{CALL}{from}\r\n"), 403, None).await;
    }
    check(
        &classify,
        &format!("{CALL}Origin: https://a.example\r\nSec-Fetch-Site: same-origin\r\n"),
        200,
        None,
    )
    .await;
    // Pages and refusals are no calls.
    let started: u64 = server.meters.methods().map(|(_, method)| method.started.get()).sum();
    assert_eq!(started, 1);
}

#[tokio::test]
async fn calls_are_answered_streamed_and_counted_as_grpc_calls() {
    let (server, address) = start(Fake::default(), ServerOptions::default()).await;
    let answer = call(address, "Classify", "x-request-id: page-7\r\n", &comment("좋아요")).await;
    assert_eq!((answer.status, answer.code()), (200, "OK"));
    assert_eq!(answer.header("content-type"), Some("application/grpc-web+proto"));
    assert_eq!(answer.header("x-request-id"), Some("page-7"));
    assert_eq!(answer.message::<ClassifyResponse>().scores.len(), 3);
    let reasons = StreamReasonRequest { comment: "좋아요".into(), max_tokens: 8, ..Default::default() };
    let answer = call(address, "StreamReason", "", &framed(&reasons)).await;
    let events: Vec<Event> = answer
        .frames()
        .0
        .iter()
        .map(|frame| StreamReasonResponse::decode(*frame).unwrap().event.unwrap())
        .collect();
    assert!(matches!(events[..], [Event::Verdict(_), .., Event::Done(_)]), "{events:?}");
    assert_eq!(answer.code(), "OK");
    let batch = ClassifyBatchRequest { comments: vec!["네".into(), " ".into()], video: None };
    let answer = call(address, "ClassifyBatch", "", &framed(&batch)).await;
    assert_eq!(answer.message::<ClassifyBatchResponse>().results.len(), 2);
    let answer = call(address, "Classify", "", &comment(" ")).await;
    assert_eq!(answer.code(), "InvalidArgument");
    assert!(answer.header("grpc-status-details-bin").is_some(), "which field is wrong");
    assert_eq!(call(address, "Nope", "", &comment("네")).await.code(), "Unimplemented");
    let handled = |name: &str, code: usize| {
        server.meters.methods().find(|((_, method), _)| *method == name).unwrap().1.handled[code].get()
    };
    assert_eq!((handled("Classify", 0), handled("Classify", 3)), (1, 1));
    assert_eq!((handled("StreamReason", 0), handled("ClassifyBatch", 0), handled("unknown", 12)), (1, 1, 1));
}

#[tokio::test]
async fn tokens_and_their_limits_hold_for_the_page_too() {
    let made = new_token("a").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    std::fs::write(&path, format!("{}comments_per_day = 2\n", made.entry)).unwrap();
    let options = ServerOptions { tokens: Some(path), max_message_bytes: 2_000, ..ServerOptions::default() };
    let (server, address) = start(Fake::default(), options).await;
    assert_eq!(send(address, "GET /", "", b"").await.status, 200, "the page itself says nothing");
    let token = format!("Authorization: Bearer {}\r\n", made.token);
    for (headers, code) in [
        ("", "Unauthenticated"),
        ("Authorization: Bearer kos_x\r\n", "Unauthenticated"),
        (token.as_str(), "OK"),
        (token.as_str(), "OK"),
        (token.as_str(), "ResourceExhausted"),
    ] {
        assert_eq!(call(address, "Classify", headers, &comment("네")).await.code(), code);
    }
    assert_eq!(call(address, "Classify", &token, &comment(&"가".repeat(1_000))).await.code(), "OutOfRange");
    let refused: Vec<_> = server.meters.refusals().filter(|(_, count)| *count > 0).collect();
    for reason in ["no_token", "unknown_token", "too_many_comments", "message_too_large"] {
        assert!(refused.contains(&(reason.to_owned(), 1)), "{reason}: {refused:?}");
    }
}

#[tokio::test]
async fn browsers_choose_their_protocol_under_the_servers_certificate() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let options = ServerOptions { tls: Some(authority.server(false)), ..ServerOptions::default() };
    let (_server, address) = start(Fake::default(), options).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap()).unwrap();
    let connect = async |protocol: &[u8]| {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    };
    let stream = connect(b"http/1.1").await;
    // Whoever says goodbye before the last word of TLS has said enough.
    let answer =
        over(stream, &request(&format!("POST {OURS}/Classify"), CALL, &comment("네"))).await.unwrap();
    assert_eq!(parse(&answer).code(), "OK");
    let mut stream = connect(b"h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's settings");
    let plain = TcpStream::connect(address).await.unwrap();
    let answer = over(plain, &request("GET /", "", b"")).await.unwrap_or_default();
    assert!(!answer.starts_with(b"HTTP/"), "the page is not served in plain text");
}

#[tokio::test]
async fn a_stop_waits_for_calls_and_not_for_idle_browsers() {
    let fake = Fake { step: Duration::from_millis(30), ..Fake::default() };
    let (server, address) = start(fake, ServerOptions::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /icon.svg HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let reasons = StreamReasonRequest { comment: "길게".into(), max_tokens: 30, ..Default::default() };
    let running = tokio::spawn(async move { call(address, "StreamReason", "", &framed(&reasons)).await });
    while server.classifier.engine().jobs() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop.send(()).unwrap();
    assert_eq!(running.await.unwrap().code(), "OK");
    tokio::time::timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn clients_that_stop_sending_are_let_go() {
    let second = Duration::from_secs(1);
    let connections = ConnectionLimits {
        handshake: second,
        keepalive: second,
        keepalive_timeout: second,
        ..ConnectionLimits::default()
    };
    let (server, address) = start(Fake::default(), ServerOptions { connections, ..Default::default() }).await;
    let whole = request(&format!("POST {OURS}/Classify"), CALL, &comment("네"));
    let head = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Long: {}\r\n\r\n", "a".repeat(100_000));
    for (sent, expect) in [
        // No bytes, part of the headers, headers without an end, part of the body, a connection that is idle.
        (&b""[..], ""),
        (&whole[..60], ""),
        (head.as_bytes(), "HTTP/1.1 431 "),
        (&whole[..whole.len() - 3], "HTTP/1.1 200 "),
        (b"GET /icon.svg HTTP/1.1\r\nHost: a.example\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let begun = Instant::now();
        let stream = TcpStream::connect(address).await.unwrap();
        let answer = over(stream, sent).await.unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with(expect), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    let begun = Instant::now();
    while server.meters.connections.get() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "connections stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn there_is_no_page_unless_it_is_asked_for() {
    let server = TestServer::start(Fake::default().classifier()).await;
    assert_eq!(server.web, None);
    for sent in [request("GET /", "", b""), request(&format!("POST {OURS}/Classify"), CALL, &comment("네"))]
    {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let answer = over(stream, &sent).await.unwrap_or_default();
        assert!(!answer.starts_with(b"HTTP/"), "gRPC's port answers browsers");
    }
}

#[test]
fn addresses_of_the_page_are_checked() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let check = |address: &str, code: i32, expect: &str| {
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--web", address, "--model"]).arg(model());
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(expect), "{error}");
    };
    check("systemd", 2, "systemd's sockets are for gRPC");
    check("8080", 2, "has no port");
    check(&taken, 1, "choose another with --web");
}
