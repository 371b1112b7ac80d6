//! How the server is reached: TLS and its renewal, Unix sockets, compression, bounds on connections.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ko_sentiment::grpc::pb::sentiment_service_client::SentimentServiceClient;
use ko_sentiment::grpc::pb::{ClassifyBatchRequest, ClassifyRequest};
use ko_sentiment::grpc::{
    Client, ClientError, ClientOptions, ClientTls, ConnectionLimits, Listen, ServerOptions, Target, TlsFiles,
};
use ko_sentiment::sentiment::input::RawInput;
use rcgen::{CertificateParams, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Endpoint;
use tonic_types::StatusExt as _;

use crate::support::{Fake, TestServer};

/// A certificate authority and what it signs, as PEM files.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn sign(&self, name: &str, host: &str) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub fn server(&self, mutual: bool) -> TlsFiles {
        let client_ca = mutual.then(|| self.path("ca.pem"));
        TlsFiles { cert: self.path("server.pem"), key: self.path("server.key"), client_ca }
    }

    pub fn client(&self, port: u16, own: Option<&str>) -> ClientOptions {
        let file = |end: &str| own.map(|name| self.path(&format!("{name}.{end}")));
        let tls = ClientTls {
            ca: Some(self.path("ca.pem")),
            cert: file("pem"),
            key: file("key"),
            server_name: None,
        };
        let target = Target::Tcp { host: "localhost".into(), port, tls: None };
        ClientOptions { tls, ..ClientOptions::new(target) }
    }
}

pub async fn ask(options: &ClientOptions) -> Result<(), ClientError> {
    let mut client = Client::connect(options).await?;
    client.classify(RawInput { comment: "좋아요", ..RawInput::default() }, false).await.map(|_| ())
}

fn with_tls(tls: TlsFiles) -> ServerOptions {
    ServerOptions { tls: Some(tls), ..ServerOptions::default() }
}

#[tokio::test]
async fn tls_is_for_who_trusts_the_server() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let server =
        TestServer::start_with(Fake::default().classifier(), with_tls(authority.server(false))).await;
    let port = server.address.port();
    ask(&authority.client(port, None)).await.unwrap();
    let refused = |options: ClientOptions| async move { ask(&options).await.unwrap_err().to_string() };
    // Plain text, other roots, another name.
    let plain = ClientOptions::new(format!("127.0.0.1:{port}").parse().unwrap());
    refused(ClientOptions { timeout: Duration::from_secs(2), ..plain.clone() }).await;
    let usual = ClientOptions { target: format!("https://localhost:{port}").parse().unwrap(), ..plain };
    assert!(refused(usual).await.contains("UnknownIssuer"));
    let mut other = authority.client(port, None);
    other.tls.server_name = Some("elsewhere.example".into());
    assert!(refused(other.clone()).await.contains("not valid for name"), "{}", refused(other).await);
}

#[tokio::test]
async fn mutual_tls_is_for_who_has_a_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign("server", "localhost");
    authority.sign("client", "team-a.example");
    other.sign("client", "team-a.example");
    let server = TestServer::start_with(Fake::default().classifier(), with_tls(authority.server(true))).await;
    let port = server.address.port();
    ask(&authority.client(port, Some("client"))).await.unwrap();
    ask(&authority.client(port, None)).await.unwrap_err();
    let mut stranger = authority.client(port, None);
    (stranger.tls.cert, stranger.tls.key) = (Some(other.path("client.pem")), Some(other.path("client.key")));
    ask(&stranger).await.unwrap_err();
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_refused() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let target: Target = format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let error = ask(&ClientOptions::new(target)).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_within_seconds_and_no_call_is_lost() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let server =
        TestServer::start_with(Fake::default().classifier(), with_tls(authority.server(false))).await;
    let options = authority.client(server.address.port(), None);
    let mut old = Client::connect(&options).await.unwrap();
    let input = RawInput { comment: "좋아요", ..RawInput::default() };
    // The new one is for another name: who connects under the old name shows which one is used.
    authority.sign("server", "renewed.example");
    let mut renewed = options.clone();
    renewed.tls.server_name = Some("renewed.example".into());
    let begun = Instant::now();
    while ask(&renewed).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new certificate is not used");
        old.classify(input, false).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask(&options).await.unwrap_err();
    // A connection from before lives on; junk changes nothing.
    std::fs::write(authority.path("server.pem"), "junk").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ask(&renewed).await.unwrap();
    old.classify(input, false).await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_is_served_and_gone_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ko.sock");
    let options = ServerOptions { listen: vec![Listen::Unix(path.clone())], ..ServerOptions::default() };
    let server = TestServer::start_with(Fake::default().classifier(), options).await;
    ask(&ClientOptions::new(Target::Unix(path.clone()))).await.unwrap();
    ask(&ClientOptions::new(format!("unix://{}", path.display()).parse().unwrap())).await.unwrap();
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.done).await.unwrap().unwrap().unwrap();
    assert!(!Path::new(&path).exists());
}

#[tokio::test]
async fn messages_are_compressed_both_ways_and_a_bomb_is_refused() {
    let server = TestServer::start(Fake::default().classifier()).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = SentimentServiceClient::new(server.channel().await)
            .send_compressed(encoding)
            .accept_compressed(encoding);
        let one = ClassifyRequest { comment: "좋아요".into(), ..ClassifyRequest::default() };
        let answer = client.classify(one.clone()).await.unwrap();
        let name = if encoding == CompressionEncoding::Gzip { "gzip" } else { "zstd" };
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), name);
        let bomb = ClassifyBatchRequest { comments: vec!["a".repeat(200 << 20)], video: None };
        let status = client.classify_batch(bomb).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
        client.classify(one).await.unwrap();
    }
    // Who compresses nothing gets small answers as they are.
    let mut client =
        SentimentServiceClient::new(server.channel().await).accept_compressed(CompressionEncoding::Gzip);
    let one = ClassifyRequest { comment: "좋아요".into(), ..ClassifyRequest::default() };
    assert!(!client.classify(one).await.unwrap().metadata().contains_key("grpc-encoding"));
    let many = ClassifyBatchRequest { comments: vec!["좋아요".into(); 100], video: None };
    let answer = client.classify_batch(many).await.unwrap();
    assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
}

fn limited(connections: ConnectionLimits) -> ServerOptions {
    ServerOptions { connections, ..ServerOptions::default() }
}

/// How long until the server closes a connection that only sends `bytes`.
async fn closed_after(server: &TestServer, bytes: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
    begun.elapsed()
}

#[tokio::test]
async fn who_does_not_begin_is_not_waited_for() {
    let limits = ConnectionLimits {
        handshake: Duration::from_millis(300),
        keepalive: Duration::from_millis(300),
        keepalive_timeout: Duration::from_millis(300),
        ..ConnectionLimits::default()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let server = TestServer::start_with(Fake::default().classifier(), limited(limits)).await;
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let tls = ServerOptions { tls: Some(authority.server(false)), ..limited(limits) };
    let with_tls = TestServer::start_with(Fake::default().classifier(), tls).await;
    let headers = [preface.as_slice(), settings, b"\0\0\x40\x01\x04\0\0\0\x01\x82"].concat();
    for (server, bytes) in [
        (&server, b"".as_slice()),
        (&server, &preface[..10]),
        // A HEADERS frame that never ends, and a half-open peer: neither answers a ping.
        (&server, &headers),
        (&with_tls, b""),
        (&with_tls, b"\x16\x03\x01"),
    ] {
        let after = closed_after(server, bytes).await;
        assert!(after < Duration::from_secs(5), "{bytes:?}: closed after {after:?}");
    }
    let mut client = server.client().await;
    client.classify(ClassifyRequest { comment: "네".into(), ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn connections_are_bounded_and_their_places_come_back() {
    let limits = ConnectionLimits { connections: 2, ..ConnectionLimits::default() };
    let server = TestServer::start_with(Fake::default().classifier(), limited(limits)).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let classify = |channel| async {
        let request = ClassifyRequest { comment: "네".into(), ..ClassifyRequest::default() };
        SentimentServiceClient::new(channel).classify(request).await
    };
    let first = endpoint.connect().await.unwrap();
    let second = endpoint.connect().await.unwrap();
    classify(first.clone()).await.unwrap();
    classify(second.clone()).await.unwrap();
    let third = endpoint.connect_lazy();
    classify(third.clone()).await.unwrap_err();
    drop(first);
    let begun = Instant::now();
    while classify(third.clone()).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the place is not free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    classify(second).await.unwrap();
}

#[tokio::test]
async fn a_connection_ends_at_its_age_and_its_calls_do_not() {
    let limits = ConnectionLimits {
        max_age: Some(Duration::from_millis(300)),
        max_age_grace: Duration::from_secs(3),
        ..ConnectionLimits::default()
    };
    let fake = Fake { step: Duration::from_millis(800), ..Fake::default() };
    let server = TestServer::start_with(fake.classifier(), limited(limits)).await;
    let mut client = server.client().await;
    // Longer than the connection's age.
    for comment in ["하나", "둘"] {
        let request = ClassifyRequest { comment: comment.into(), ..ClassifyRequest::default() };
        client.classify(request).await.unwrap();
    }
    // Who does not answer the goodbye is cut after the grace time.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let after = closed_after(&server, preface).await;
    assert!((2.0..10.0).contains(&after.as_secs_f64()), "closed after {after:?}");
}

/// Opens and resets streams as fast as it can (CVE-2023-44487), or sends headers that never end
/// (CVE-2024-27316): `frame` is what it repeats. Returns the error code of the server's GOAWAY.
async fn flood(server: &TestServer, frame: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let sending = async {
        for i in 0..200_000 {
            if write.write_all(&frame(i)).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await
    };
    let mut received = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut received));
    tokio::select! {
        () = sending => {}
        ended = reading => { let _ = ended.expect("the server closes the connection"); }
    }
    let mut rest = &received[..];
    while let [a, b, c, kind, _, _, _, _, _, tail @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        if *kind == 7 {
            return Some(u32::from_be_bytes(tail[4..8].try_into().unwrap()));
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    None
}

#[tokio::test]
async fn floods_end_their_connection_and_no_other() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let mut other = server.client().await;
    let stream_id = |i: u32| (2 * i + 1).to_be_bytes();
    // :method POST, :scheme http, :path /, in HPACK's static table.
    let reset = flood(&server, |i| {
        let id = stream_id(i);
        let headers = [b"\0\0\x03\x01\x04".as_slice(), &id, b"\x83\x86\x84"].concat();
        [headers.as_slice(), b"\0\0\x04\x03\0", &id, b"\0\0\0\x08"].concat()
    });
    assert_eq!(reset.await, Some(0xb), "ENHANCE_YOUR_CALM");
    let continued = flood(&server, |i| match i {
        0 => b"\0\0\x03\x01\0\0\0\0\x01\x83\x86\x84".to_vec(),
        _ => b"\0\0\x05\x09\0\0\0\0\x01\x40\x01a\x01b".to_vec(),
    });
    assert!(continued.await.is_some_and(|code| code != 0));
    other.classify(ClassifyRequest { comment: "네".into(), ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn what_is_no_call_gets_http_s_own_refusal() {
    use tonic::codegen::Service as _;
    use tonic::codegen::http::{Method, Request};

    let server = TestServer::start(Fake::default().classifier()).await;
    let mut channel = server.channel().await;
    let mut check = async |method: Method, content_type: &str, expect: u16| {
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let request = Request::builder()
            .method(&method)
            .uri(format!("http://{}/ko_sentiment.v1.SentimentService/GetModelInfo", server.address))
            .header("content-type", content_type)
            .body(tonic::body::Body::new(http_body_util::Full::from([0u8; 5].as_slice())))
            .unwrap();
        let response = channel.call(request).await.unwrap();
        assert_eq!(response.status(), expect, "{method} {content_type}");
        assert_eq!(response.headers().contains_key("allow"), expect == 405);
    };
    check(Method::POST, "application/grpc", 200).await;
    check(Method::POST, "application/grpc+proto", 200).await;
    check(Method::POST, "application/grpc-web+proto", 415).await;
    check(Method::POST, "application/grpcish", 415).await;
    check(Method::POST, "text/plain", 415).await;
    check(Method::GET, "application/grpc", 405).await;
}
