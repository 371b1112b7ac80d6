//! Classes of faults against the binary, briefly; `make test-faults` has them at length.

use std::process::Command;

use crate::hostile::Tiny;
use crate::support::root;

#[test]
fn what_must_hold_holds_under_each_class_of_faults() {
    let tiny = Tiny::of("checkpoint");
    let mut command = Command::new("python3");
    command.arg(root().join("scripts/test-faults.py")).args(["--short", "--binary"]);
    command.arg(env!("CARGO_BIN_EXE_ko-sentiment")).arg("--model").arg(tiny.path("tiny.gguf"));
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command.env("KO_SENTIMENT_TESTS", std::env::current_exe().unwrap());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}
