//! Floods of calls, connections and unfinished messages, small ones; `make test-floods` has the large ones.

use std::process::Command;

use super::Tiny;
use crate::support::root;

#[test]
fn floods_hold_little_and_good_calls_are_answered() {
    let tiny = Tiny::of("checkpoint");
    let mut command = Command::new("python3");
    command.arg(root().join("scripts/test-floods.py")).args(["--short", "--binary"]);
    command.arg(env!("CARGO_BIN_EXE_ko-sentiment")).arg("--model").arg(tiny.path("tiny.gguf"));
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}
