//! The binary as a user meets it: exit codes, messages, signals.

use std::io::{BufRead as _, BufReader, Write as _};
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
    check(&["classify", "--model", &text, "네"], 1, "is a text file");
    check(&["classify", "--model", folder.path().to_str().unwrap(), "네"], 1, "is a folder");
    check(&["classify", "--model", &file("empty.gguf", b""), "네"], 1, "is empty");
    for (endpoint, expect) in [
        ("localhost", "write localhost:50051"),
        ("xds:///sentiment", "unix:/PATH"),
        ("unix:", "names no socket"),
    ] {
        check(&["health", "--endpoint", endpoint], 2, expect);
        check(&["classify", "--endpoint", endpoint, "네"], 2, expect);
    }
    check(&["serve", "--model", &base, "--listen", "localhost"], 2, "write localhost:50051");
    check(&["serve", "--model", &base, "--tls-cert", &text], 2, "--tls-key");
}

/// No number that a user gives reaches llama.cpp unchecked: it would end the process.
#[test]
fn numbers_out_of_range_are_refused_before_anything_is_computed() {
    let model = model().to_str().unwrap().to_owned();
    let run = |args: &[&str]| {
        let output = binary().args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let huge = "18446744073709551615";
    for flag in [
        "--threads",
        "--ctx-size",
        "--batch-size",
        "--parallel",
        "--max-videos",
        "--answer-cache-mib",
        "--max-request-tokens",
        "--max-requests",
        "--max-queued-tokens",
        "--step-target-ms",
        "--n-gpu-layers",
    ] {
        let (code, message) = run(&["classify", "--model", &model, flag, huge, "네"]);
        assert!(code == Some(2) && message.contains(flag), "{flag}: {code:?} {message}");
    }
    for (args, expect) in [
        (["--threads", "0"], "--threads"),
        (["--threads", "100000"], "--threads"),
        (["--batch-size", "1"], "--batch-size"),
        (["--batch-size", "64"], "--batch-size"),
        (["--ctx-size", "64"], "--ctx-size"),
        (["--max-request-tokens", "1"], "--max-request-tokens"),
        (["--parallel", "0"], "--parallel"),
    ] {
        let (code, message) = run(&[&["classify", "--model", &model][..], &args, &["네"]].concat());
        assert!(matches!(code, Some(1 | 2)) && message.contains(expect), "{args:?}: {code:?} {message}");
    }
    for args in [
        ["serve", "--max-message-bytes", "0"],
        ["serve", "--max-connections", "0"],
        ["serve", "--grace-seconds", huge],
        ["convert-model", "--threads", "100000"],
        ["bench", "--rate", "nan"],
        ["bench", "--clients", "0"],
        ["eval", "--in-flight", huge],
        ["reason", "--temperature", "nan"],
        ["classify", "--timeout", "inf"],
    ] {
        let (code, message) = run(&args);
        assert!(code == Some(2) && message.contains(args[1]), "{args:?}: {code:?} {message}");
    }
}

#[test]
fn a_flag_beats_a_variable() {
    let check = |variables: &[(&str, &str)], args: &[&str], code: i32, expect: &str| {
        let output = binary().envs(variables.iter().copied()).args(args).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{variables:?} {args:?}: {message}");
        assert!(message.contains(expect), "{variables:?} {args:?}: {message:?} does not say {expect:?}");
    };
    let (no_model, no_server) = ("/nowhere/model.gguf", "127.0.0.1:1");
    let (model, endpoint) = (("KO_SENTIMENT_MODEL", no_model), ("KO_SENTIMENT_ENDPOINT", no_server));
    check(&[model], &["classify", "--endpoint", no_server, "네"], 1, "is the server running");
    check(&[endpoint], &["classify", "--model", no_model, "네"], 1, "/nowhere/model.gguf");
    check(&[model], &["classify", "네"], 1, "/nowhere/model.gguf");
    check(&[endpoint], &["classify", "네"], 1, "is the server running");
    check(&[model, endpoint], &["classify", "네"], 2, "choose with --model or --endpoint");
    check(&[], &["classify", "--endpoint", no_server, "--model", no_model, "네"], 2, "leave one out");
    for value in ["1", "0", "true", "false", "yes", "off", ""] {
        let variable = [("KO_SENTIMENT_NO_REFLECTION", value)];
        check(&variable, &["serve", "--model", no_model], 1, "/nowhere/model.gguf");
    }
    check(&[("KO_SENTIMENT_NO_REFLECTION", "maybe")], &["serve", "--model", no_model], 2, "yes or no");
}

#[test]
fn a_port_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        // Kept open, and never read.
        let _kept: Vec<_> = listener.incoming().collect();
    });
    let greeting = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http2 = greeting.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let greet = |stream: std::io::Result<std::net::TcpStream>| {
            let mut stream = stream.unwrap();
            // SETTINGS, and the acknowledgement of the client's.
            stream.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").unwrap();
            stream
        };
        let _kept: Vec<_> = greeting.incoming().map(greet).collect();
    });
    for endpoint in [&silent, &http2] {
        for command in [&["health"][..], &["classify", "네"], &["reason", "네"]] {
            let begun = Instant::now();
            let args = [command, &["--endpoint", endpoint, "--timeout", "0.5"]].concat();
            let output = binary().args(&args).output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
            assert!(message.contains("--timeout"), "{args:?}: {message}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{args:?}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let mut command = binary();
    command.args(["inspect"]).arg(model()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_token_is_made_for_a_file() {
    let output = binary().args(["token", "new", "team-a", "--json"]).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (token, entry) = (made["token"].as_str().unwrap(), made["entry"].as_str().unwrap());
    assert_eq!(made["name"], "team-a");
    assert!(token.len() >= 64 && !entry.contains(token), "the entry tells no secret");
    assert!(entry.starts_with("[[token]]\nname = \"team-a\"\nsha256 = "));
    let refused = binary().args(["token", "new", "a b"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
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
