//! Files on the command line.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::made;
use crate::support::{Fake, TestServer, binary};

fn run(args: &[&str], input: &[u8]) -> Output {
    let mut command = binary();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_and_refusals_told() {
    let server = TestServer::start(Fake::default().classifier()).await;
    let endpoint = server.address.to_string();
    let measured = tokio::task::spawn_blocking(move || {
        let csv = "comment;score\n좋아요;1\n ;0\n네;0\n\"열린;1\n별로;-1\n";
        let args =
            ["eval", "--endpoint", &endpoint, "--labels", "1=긍정,0=중립,-1=부정", "--label-column", "score"];
        let json = |more: &[&str], input: &[u8]| -> (Value, String) {
            let output = run(&[&args[..], &["--json"], more].concat(), input);
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{message}");
            (serde_json::from_slice(&output.stdout).unwrap(), message)
        };
        let file = made("a.csv", csv.as_bytes());
        let (report, message) = json(&["--data", file.path.to_str().unwrap()], b"");
        assert_eq!(report["rows"], 3);
        let counts = &report["data_rows"];
        assert_eq!(
            (&counts["total"], &counts["read"], &counts["refused"]),
            (&5.into(), &3.into(), &2.into())
        );
        assert_eq!(counts["first_refused"][0]["place"], "line 3");
        assert!(report["data"].as_str().unwrap().ends_with("5 rows: 3 read, 2 refused"), "{report}");
        assert!(
            message.contains("2 of 5 rows are refused") && message.contains("line 5: a quote"),
            "{message}"
        );
        // The same from standard input, whose format must be said.
        let (piped, _) = json(&["--data", "-", "--format", "csv"], csv.as_bytes());
        assert_eq!(piped["data_sha256"], report["data_sha256"]);
        let output = run(&[&args[..], &["--data", "-"]].concat(), csv.as_bytes());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            message.contains("standard input: the name must end in") && message.contains("--format"),
            "{message}"
        );

        let bench =
            ["bench", "--endpoint", &endpoint, "--requests", "4", "--warmup", "0", "--json", "--data"];
        let output = run(&[&bench[..], &[file.path.to_str().unwrap()]].concat(), b"");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && message.contains("2 of 5 rows are refused"), "{message}");
    });
    measured.await.unwrap();
}
