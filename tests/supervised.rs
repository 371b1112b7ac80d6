//! A server under a supervisor that speaks systemd's protocol: a socket passed on, READY, signs of life, STOPPING.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use ko_sentiment::grpc::pb::ClassifyRequest;

use crate::support::{Fake, TestServer, binary, model};

/// Gives the program what is on standard input as the first passed socket.
const PASS_SOCKET: &str = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 0</dev/null"#;

#[test]
fn systemd_hears_ready_signs_of_life_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = supervisor.recv(&mut bytes).expect("a message before the time is over");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut server = std::process::Command::new("sh")
        .args(["-c", PASS_SOCKET])
        .arg(binary().get_program())
        .args(["serve", "--model"])
        .arg(model())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(heard().starts_with("READY=1\n"));
    assert_eq!([heard(), heard(), heard()], ["WATCHDOG=1"; 3]);
    let health = binary().args(["health", "--timeout", "60", "--endpoint", &address]).output().unwrap();
    assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    assert!(std::process::Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    let last = std::iter::repeat_with(heard).find(|message| message != "WATCHDOG=1");
    assert!(last.unwrap().starts_with("STOPPING=1\n"));
    assert!(server.wait().unwrap().success());
}

#[tokio::test]
async fn an_engine_that_is_stuck_in_a_step_gives_no_sign_of_life() {
    let fake = Fake { step: Duration::from_secs(2), ..Fake::default() };
    let server = TestServer::start(fake.classifier()).await;
    let engine = server.classifier.engine();
    engine.pulse().await.unwrap();
    let mut client = server.client().await;
    let request = ClassifyRequest { comment: "네".into(), ..Default::default() };
    let answer = tokio::spawn(async move { client.classify(request).await });
    while engine.jobs() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(tokio::time::timeout(Duration::from_millis(500), engine.pulse()).await.is_err());
    answer.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(60), engine.pulse()).await.unwrap().unwrap();
}
