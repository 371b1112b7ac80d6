//! Model files that no command gives to llama.cpp.

use std::process::Command;

use ko_sentiment::gguf::{Array, Value};

use super::{Tiny, finished, is_plain, refusal};
use crate::support::binary;

const TITLE: &str = "\u{1b}]0;title\u{7}\u{1b}[2Jmodel\u{9b}31m";
const PROFILE: &str = "ko_sentiment.profile";

fn classify(model: &std::path::Path) -> Command {
    let mut command = binary();
    command.args(["classify", "좋아요 😀", "--model"]).arg(model);
    command
}

#[test]
fn each_kind_of_broken_model_is_refused_by_name() {
    let tiny = Tiny::of("checkpoint");
    let text = |n: usize| Value::Array(Array::from_strings(vec![b"a"; n]));
    let n = tiny.header.metadata.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap().len() as usize;
    let cases = [
        ("general.alignment", Value::U32(1), "general.alignment"),
        ("gemma2.block_count", Value::U32(0), "gemma2.block_count is U32(0)"),
        ("gemma2.attention.layer_norm_rms_epsilon", Value::F32(-1.0), "is F32(-1.0)"),
        ("tokenizer.ggml.tokens", text(n), "is there twice"),
        ("gemma2.rope.scaling.type", TITLE.into(), r"\u{1b}]0;title"),
        ("general.architecture", TITLE.into(), r"\u{1b}]0;title"),
        (PROFILE, format!("a = {}", "[".repeat(100_000)).into(), "TOML parse error at line 1"),
        (PROFILE, format!("\"{TITLE}\" = 1").into(), "profile cannot be read"),
    ];
    for (key, value, expect) in cases {
        let path = tiny.with("bad.gguf", key, value);
        for command in
            [&mut classify(&path), binary().args(["serve", "--listen", "127.0.0.1:0", "--model"]).arg(&path)]
        {
            let message = refusal(command);
            assert!(message.contains(expect), "{key}: {message}");
        }
        let out = tiny.path("out.gguf");
        let mut convert = binary();
        convert.args(["convert-model", "--quant", "Q8_0", "--base"]).arg(&path).arg("--out").arg(&out);
        if key != PROFILE {
            refusal(&mut convert);
            assert!(!out.exists(), "{key} was converted");
        }
    }
    let whole = finished(&mut classify(&tiny.path("tiny.gguf")));
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let tiny = Tiny::of("checkpoint");
    let fifo = tiny.path("fifo.gguf");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let base = ["convert-model", "--out", "/nowhere/out.gguf", "--base"];
    for path in [fifo.to_str().unwrap(), "/dev/zero"] {
        for command in [&["classify", "네", "--model"][..], &["inspect"], &base] {
            let message = refusal(binary().args(command).arg(path));
            assert!(message.contains("not a file"), "{command:?} {path}: {message}");
        }
        let profile = tiny.path("tiny.gguf");
        refusal(binary().args(["classify", "네", "--model"]).arg(profile).arg("--profile").arg(path));
    }
}

#[test]
fn inspect_shows_names_and_faults_plainly() {
    let tiny = Tiny::of("checkpoint");
    let mut header = tiny.header.clone();
    header.metadata.set("general.name", TITLE);
    header.metadata.set("ko_sentiment.provenance.tool", TITLE);
    header.metadata.set("gemma2.block_count", Value::U32(0));
    let path = tiny.with_header("name.gguf", &header);
    let output = finished(binary().arg("inspect").arg(&path));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && is_plain(&text), "{text:?}");
    assert!(
        text.contains(r"\u{1b}]0;title") && text.contains("cannot be served      metadata key"),
        "{text}"
    );
    let output = finished(binary().args(["inspect", "--json"]).arg(&path));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["fault"].as_str().unwrap().contains("block_count"), "{json}");
}
