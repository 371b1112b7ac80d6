//! A model's file that is changed while it is served.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Tiny, finished};
use crate::support::binary;

/// Serves a copy, has `act` do something to its file, and returns the exit code (none if the server still
/// runs after `patience`) and the log.
fn serve(tiny: &Tiny, patience: Duration, ask: bool, act: &dyn Fn(&Path)) -> (Option<i32>, String) {
    let path = tiny.path("copy.gguf");
    std::fs::copy(tiny.path("tiny.gguf"), &path).unwrap();
    let mut command = binary();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model"]).arg(&path);
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "no address");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = line["address"].as_str() {
            break address.to_owned();
        }
    };
    act(&path);
    if ask {
        finished(binary().args(["classify", "--endpoint", &address, "좋아요"]));
    }
    let begun = Instant::now();
    let code = loop {
        match server.try_wait().unwrap() {
            Some(status) => break status.code().or(Some(-1)),
            None if begun.elapsed() > patience => {
                server.kill().unwrap();
                server.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    (code, rest)
}

#[test]
fn a_changed_file_ends_the_server_with_a_message() {
    let tiny = Tiny::of("checkpoint");
    let patience = Duration::from_secs(30);
    let truncate = |path: &Path| OpenOptions::new().write(true).open(path).unwrap().set_len(4096).unwrap();
    let overwrite = |path: &Path| {
        OpenOptions::new().write(true).open(path).unwrap().write_all(&[0; 64]).unwrap();
    };
    // The look of each second comes first, or the lost page does.
    for (act, ask) in [(&truncate as &dyn Fn(&Path), true), (&truncate, false), (&overwrite, false)] {
        let (code, log) = serve(&tiny, patience, ask, act);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("copy.gguf") && log.contains("was changed"), "{log}");
    }
}

#[test]
fn a_replaced_file_is_only_logged() {
    let tiny = Tiny::of("checkpoint");
    let replace = |path: &Path| {
        std::fs::copy(tiny.path("tiny.gguf"), path.with_extension("new")).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    };
    let (code, log) = serve(&tiny, Duration::from_secs(3), false, &replace);
    assert_eq!(code, None, "{log}");
    assert!(log.contains("was replaced"), "{log}");
}
