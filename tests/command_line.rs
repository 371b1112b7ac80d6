//! The binary as a user meets it: exit codes, messages, signals.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{base, binary, model};

#[test]
fn classify_answers_in_json() {
    let output = binary()
        .args(["classify", "--json", "좋은 영상 고맙습니다", "--model"])
        .arg(model())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let total: f64 = ["positive", "neutral", "negative"]
        .iter()
        .map(|s| answer["probabilities"][s].as_f64().unwrap())
        .sum();
    assert!((total - 1.0).abs() < 1e-9);
    assert_eq!(answer["model"]["quantization"], "Q6_K");
}

#[test]
fn bench_explains_without_classifications_too() {
    let folder = tempfile::tempdir().unwrap();
    let comments = folder.path().join("comments.txt");
    std::fs::write(&comments, "좋은 영상 고맙습니다\n소리가 너무 작아요\n").unwrap();
    let bench = |flags: &[&str]| -> serde_json::Value {
        let output = binary()
            .args(["bench", "--json", "--max-tokens", "4", "--data"])
            .arg(&comments)
            .arg("--model")
            .arg(model())
            .args(flags)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let explained = bench(&["--requests", "0", "--streams", "3", "--warmup", "2"]);
    assert_eq!((&explained["classifications"], &explained["explanations"]), (&0.into(), &3.into()));
    let classified =
        bench(&["--requests", "5", "--clients", "2", "--warmup", "4", "--answer-cache-mib", "0"]);
    // What warmed up is in none of the figures.
    assert_eq!((&classified["classifications"], &classified["explanations"]), (&5.into(), &0.into()));
    let tokens =
        classified["computed_tokens_per_second"].as_f64().unwrap() * classified["seconds"].as_f64().unwrap();
    assert!((5.0..5.0 * 60.0).contains(&tokens), "{tokens} tokens for five short comments");
}

#[test]
fn faults_are_told_with_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = std::fs::read(base()).unwrap();
    let truncated = file("truncated.gguf", &whole[..whole.len() / 2]);
    let no_header = file("short.gguf", &whole[..2_000]);
    let text = file("text.gguf", "이것은 모델이 아니다".as_bytes());
    let base = base().to_str().unwrap().to_owned();
    let check = |args: &[&str], code: i32, expect: &str| {
        let output = binary().args(args).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        assert!(message.contains(expect), "{args:?}: {message:?} does not say {expect:?}");
    };
    check(&["classify", "네"], 2, "--model");
    check(&["frobnicate"], 2, "unrecognized subcommand");
    check(&["serve", "--model", "/nowhere/model.gguf"], 1, "/nowhere/model.gguf");
    for damaged in [&truncated, &no_header, &text] {
        check(&["serve", "--model", damaged], 1, damaged);
    }
    check(&["classify", "--model", &base, "네"], 1, "holds no profile");
    check(&["classify", "--model", &base, "--profile", "default", "  "], 1, "comment is empty or blank");
    check(&["classify", "--endpoint", "127.0.0.1:1", "네"], 1, "is the server running");
    check(&["serve", "--model", &base, "--profile", "default", "--parallel", "100"], 1, "--parallel");
}

/// Two signals: the first lets a stream finish, so the server ends by itself with 0.
#[test]
fn sigterm_ends_a_server_with_0() {
    let mut server = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model"])
        .arg(model())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = log
        .find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            line["address"].as_str().map(str::to_owned)
        })
        .unwrap();
    let ask = binary().args(["classify", "--endpoint", &address, "비밀 댓글 원문"]).output().unwrap();
    assert!(ask.status.success(), "{}", String::from_utf8_lossy(&ask.stderr));
    let kill = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let begun = Instant::now();
    while server.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server does not stop");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = log.map(Result::unwrap).collect();
    let request =
        rest.iter().find(|line| line.contains("\"method\":\"Classify\"")).expect("a line for the request");
    for field in ["\"id\":", "\"code\":\"Ok\"", "prompt_tokens", "compute_ms"] {
        assert!(request.contains(field), "{request} lacks {field}");
    }
    assert!(rest.iter().all(|line| !line.contains("비밀")), "the comment's text was logged");
}
