//! `convert-model` as a process: stopped, killed or refused by the disk in the middle of its work.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::support::Checkpoint;
use crate::support::binary;

/// A conversion that takes a while, and the folder that it writes to.
struct Conversion {
    checkpoint: Checkpoint,
    folder: TempDir,
}

impl Conversion {
    fn new() -> Self {
        let checkpoint = Checkpoint::with_layers(60);
        checkpoint.write();
        Self { checkpoint, folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self) -> Command {
        // A write beyond a limit is an error then, and no signal; a child takes this over.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(binary().get_program());
        command.args(["convert-model", "--threads", "1", "--base"]).arg(self.checkpoint.path());
        command.arg("--out").arg(self.folder.path().join("out.gguf"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts and freezes it where the temporary file is there and the final name is not.
    fn frozen(&self) -> Child {
        let child = self.command().spawn().unwrap();
        let begun = Instant::now();
        while self.files().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no temporary file");
            std::thread::sleep(Duration::from_millis(1));
        }
        signal("STOP", &child);
        assert!(is_partial(&self.files()), "{:?}", self.files());
        child
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn is_partial(files: &[PathBuf]) -> bool {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    matches!(files, [file] if name(file).starts_with(".out.gguf.") && name(file).ends_with(".partial"))
}

fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}

fn signal(name: &str, child: &Child) {
    run("kill", &[&format!("-{name}"), &child.id().to_string()]);
}

fn thawed(child: Child) -> Output {
    signal("CONT", &child);
    child.wait_with_output().unwrap()
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_stopped_conversion_ends_with_1_and_leaves_nothing() {
    let conversion = Conversion::new();
    for name in ["INT", "TERM"] {
        let child = conversion.frozen();
        signal(name, &child);
        let output = thawed(child);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", message(&output));
        assert!(message(&output).contains("stopped: nothing was left behind"), "{}", message(&output));
        assert!(conversion.files().is_empty(), "{name}: {:?}", conversion.files());
    }
}

#[test]
fn what_a_killed_conversion_left_is_removed_by_the_next() {
    let conversion = Conversion::new();
    let mut child = conversion.frozen();
    signal("KILL", &child);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(is_partial(&conversion.files()), "{:?}", conversion.files());
    let output = conversion.command().output().unwrap();
    assert!(output.status.success(), "{}", message(&output));
    assert_eq!(conversion.files(), [conversion.folder.path().join("out.gguf")]);
}

/// A limit of the process stands for a full disk: the space was there at the start.
#[cfg(target_os = "linux")]
#[test]
fn a_write_that_fails_in_the_middle_leaves_nothing() {
    let conversion = Conversion::new();
    let child = conversion.frozen();
    run("prlimit", &["--fsize=1000", "--pid", &child.id().to_string()]);
    let output = thawed(child);
    assert_eq!(output.status.code(), Some(1), "{}", message(&output));
    assert!(message(&output).contains("cannot write"), "{}", message(&output));
    assert!(conversion.files().is_empty(), "{:?}", conversion.files());
}

#[test]
fn the_plan_tells_the_size_to_the_byte() {
    let conversion = Conversion::new();
    let output = conversion.command().arg("--dry-run").output().unwrap();
    assert!(output.status.success(), "{}", message(&output));
    assert!(conversion.files().is_empty());
    let plan = String::from_utf8(output.stdout).unwrap();
    assert!(conversion.command().output().unwrap().status.success());
    let size = fs::metadata(conversion.folder.path().join("out.gguf")).unwrap().len();
    assert!(plan.contains(&format!("size      {size} bytes\n")), "{plan}: it is {size} bytes");
}
