//! Files that mean harm or are merely broken: refused with a message, never an end by a signal.

mod assertions;
mod floods;
mod loader;
mod models;
mod mutations;
mod served;
mod settings;
mod targets;
mod tried;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::gguf::{Header, Value};
use tempfile::TempDir;

use crate::convert::support::{Checkpoint, Job};
use crate::support::root;

/// Runs one of `scripts/`, briefly, with the binary and a tiny model. It has to end well.
pub fn run_script(name: &str) {
    let tiny = Tiny::of("checkpoint");
    let mut command = Command::new("python3");
    command.arg(root().join("scripts").join(name)).args(["--short", "--binary"]);
    command.arg(env!("CARGO_BIN_EXE_ko-sentiment")).arg("--model").arg(tiny.path("tiny.gguf"));
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    // A fault is brought about by a test of these.
    command.env("KO_SENTIMENT_TESTS", std::env::current_exe().unwrap());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

/// A tiny model, in a folder of its own, and its parts to be broken.
pub struct Tiny {
    folder: TempDir,
    pub header: Header,
    data: Vec<u8>,
}

impl Tiny {
    /// `checkpoint` is a Gemma 2, `gemma3` a Gemma 3.
    pub fn of(fixture: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(fixture);
        let path = folder.path().join("tiny.gguf");
        Job::new(checkpoint.write(), FileType::Q8_0, &path).run().unwrap();
        let header = Header::read(&path).unwrap();
        let data = fs::read(&path).unwrap().split_off(header.data_start as usize);
        Self { folder, header, data }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a changed header before the same data.
    pub fn with_header(&self, name: &str, header: &Header) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, [header.encode(), self.data.clone()].concat()).unwrap();
        path
    }

    /// A copy whose metadata is changed.
    pub fn with(&self, name: &str, key: &str, value: Value) -> PathBuf {
        let mut header = self.header.clone();
        header.metadata.set(key, value);
        self.with_header(name, &header)
    }
}

/// Runs a command for half a minute at most: nothing hostile may take longer.
pub fn finished(command: &mut Command) -> Output {
    use std::process::Stdio;
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("{command:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// The one message of a refusal: exit code 1, short, nothing that a terminal acts on.
pub fn refusal(command: &mut Command) -> String {
    let output = finished(command);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {message}");
    assert!(message.starts_with("error: "), "{command:?}: {message}");
    assert!(message.lines().all(|line| line.chars().count() <= 420) && message.len() < 4096, "{message}");
    assert!(is_plain(&message), "{message:?}");
    message
}

pub fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c != '\n' && c.is_control())
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
