//! A model file that was never loaded here is loaded in a child process first. If it makes llama.cpp abort, the child
//! ends, and this process can say so.

use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{fs, io};

use super::known_models;
use crate::convert::finish::verify::VerifyError;
use crate::files::split;
use crate::text::escape::{message, quoted};
use crate::text::shown::shown_path;

/// Bytes of the child's log that are kept: its end.
const LOG_BYTES: usize = 16 << 10;
/// Seconds that a trial may take beside the time to read the file.
const SECONDS: u64 = 120;
/// Bytes per second at which the slowest disk reads the file.
const BYTES_PER_SECOND: u64 = 10 << 20;
/// What the command line's last message begins with.
const ERROR: &str = "error: ";

/// Why a model file cannot be trusted with this process.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// No child process.
    #[error(
        "cannot start a process to try {} in: {source}; set --trust-model to load it without",
        shown_path(path)
    )]
    Start {
        /// The model file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The child's own message.
    #[error("{}", message(.0))]
    Refused(String),
    /// The child was ended.
    #[error(
        "llama.cpp does not survive {}: {reason}; get the file from its publisher again, and report this if it still happens",
        shown_path(path)
    )]
    Ended {
        /// The model file.
        path: PathBuf,
        /// What ended it, and what it said before.
        reason: String,
    },
}

impl From<TrialError> for VerifyError {
    fn from(error: TrialError) -> Self {
        Self::Child(error.to_string())
    }
}

/// Tries a file that is about to be loaded, once: a file that is known to have been tried is left alone.
///
/// # Errors
/// See [`TrialError`].
pub fn before_load(path: &Path) -> Result<(), TrialError> {
    // What cannot be looked at is the loader's to refuse.
    let Ok(identity) = known_models::identity(path) else { return Ok(()) };
    if known_models::has(&identity) {
        return Ok(());
    }
    load(path)?;
    known_models::add(&identity);
    Ok(())
}

/// Loads a file in a child process and computes one step with it.
///
/// # Errors
/// See [`TrialError`]. What llama.cpp refuses in an orderly way is none.
pub fn load(path: &Path) -> Result<(), TrialError> {
    let parts = split::parts(path);
    let mut child = child(&parts)?;
    child.arg("--").args(&parts);
    run(path, child)
}

/// Has a child process load a converted model's files and answer its profile's prompt.
///
/// # Errors
/// See [`TrialError`].
pub fn ask(paths: &[PathBuf], threads: usize) -> Result<(), TrialError> {
    let mut child = child(paths)?;
    child.args(["--ask", "--threads", &threads.to_string(), "--"]).args(paths);
    run(first(paths), child)
}

/// The file that a model is called by.
fn first(paths: &[PathBuf]) -> &Path {
    paths.first().map_or(Path::new(""), PathBuf::as_path)
}

/// This program again, as [`super::try_model`].
fn child(paths: &[PathBuf]) -> Result<Command, TrialError> {
    let start = |source| TrialError::Start { path: first(paths).to_owned(), source };
    let size: u64 = paths.iter().map(|path| fs::metadata(path).map_or(0, |about| about.len())).sum();
    let seconds = SECONDS + size / BYTES_PER_SECOND;
    let mut command = Command::new(std::env::current_exe().map_err(start)?);
    command.args(["--log-format", "text", "--log-level", "warn", "try-model", "--seconds"]);
    command.arg(seconds.to_string());
    // ggml would start a debugger to print where it aborts.
    command.env("GGML_NO_BACKTRACE", "1");
    // The supervisor's are for the server alone.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"] {
        command.env_remove(name);
    }
    Ok(command)
}

fn run(path: &Path, mut command: Command) -> Result<(), TrialError> {
    let start = |source| TrialError::Start { path: path.to_owned(), source };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    let log = child.stderr.take().map_or_else(String::new, end_of);
    let status = child.wait().map_err(start)?;
    judge(path, status, &log)
}

/// The last bytes of a log.
fn end_of(mut log: impl Read) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = log.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        let surplus = kept.len().saturating_sub(LOG_BYTES);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What a child's end and its log mean.
fn judge(path: &Path, status: ExitStatus, log: &str) -> Result<(), TrialError> {
    if status.success() {
        return Ok(());
    }
    let mut lines = log.lines().filter(|line| !line.trim().is_empty()).rev();
    let last = lines.next().unwrap_or_default();
    if let Some(said) = last.strip_prefix(ERROR) {
        return Err(TrialError::Refused(match lines.next() {
            // A crash's message does not know what llama.cpp said before it.
            Some(before) if is_crash(said) => after(said, before),
            _ => said.to_owned(),
        }));
    }
    let how = match status.signal() {
        Some(libc::SIGALRM) => "it took too long".to_owned(),
        Some(signal) => format!("a process that loaded it was ended by signal {signal}{}", name(signal)),
        None => format!("a process that loaded it ended with code {}", status.code().unwrap_or(-1)),
    };
    let reason = if last.is_empty() { how } else { format!("{how} after {}", quoted(last)) };
    Err(TrialError::Ended { path: path.to_owned(), reason })
}

fn is_crash(said: &str) -> bool {
    said.starts_with(crate::llama::crash::GAVE_UP)
}

/// A message with the line before it put in before its advice.
fn after(said: &str, before: &str) -> String {
    match said.rsplit_once("; ") {
        Some((what, advice)) => format!("{what}, after {}; {advice}", quoted(before)),
        None => said.to_owned(),
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => " (invalid memory)",
        libc::SIGKILL => " (killed, perhaps for memory)",
        libc::SIGILL => " (invalid instruction)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_message_with_what_was_said_last() {
        let path = Path::new("m\u{1b}.gguf");
        let check = |script: &str, expect: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let error = run(path, command).unwrap_err().to_string();
            assert_eq!(error, expect, "{script}");
        };
        let ended = r"llama.cpp does not survive m\u{1b}.gguf: a process that loaded it was ended by signal ";
        let advice = "; get the file from its publisher again, and report this if it still happens";
        check("kill -SEGV $$", &format!("{ended}11 (invalid memory){advice}"));
        check(
            "echo out of range >&2; kill -KILL $$",
            &format!("{ended}9 (killed, perhaps for memory) after \"out of range\"{advice}"),
        );
        check(
            "kill -ALRM $$",
            &format!(r"llama.cpp does not survive m\u{{1b}}.gguf: it took too long{advice}"),
        );
        check("echo hint >&2; echo 'error: no; do this' >&2; exit 1", "no; do this");
        let gave_up = crate::llama::crash::GAVE_UP;
        check(
            &format!("echo '\u{1b}[2Jwhat(): gone' >&2; echo 'error: {gave_up} x; do this' >&2; exit 1"),
            &format!(r#"{gave_up} x, after "\u{{1b}}[2Jwhat(): gone"; do this"#),
        );
        run(path, Command::new("true")).unwrap();
    }

    #[test]
    fn the_end_of_a_log_is_kept() {
        let log = "x".repeat(3 * LOG_BYTES) + "\nlast";
        let end = end_of(log.as_bytes());
        assert!(end.len() == LOG_BYTES && end.ends_with("\nlast"));
    }
}
