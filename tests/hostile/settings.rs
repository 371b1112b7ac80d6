//! Files that flags name: only a regular file of a sensible size is read.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use super::{Tiny, refusal};
use crate::support::binary;

/// A pipe, a folder and a file of 64 MiB without a byte on the disk.
fn unfit(tiny: &Tiny) -> [(std::path::PathBuf, &'static str); 3] {
    let (fifo, folder, large) = (tiny.path("fifo"), tiny.path("folder"), tiny.path("large"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::create_dir(&folder).unwrap();
    File::create(&large).unwrap().set_len(64 << 20).unwrap();
    [(fifo, "not a file"), (folder, "not a file"), (large, "it is larger than")]
}

/// A command line, which ends before the flag and its file.
type Make<'a> = Box<dyn Fn(&Path) -> Command + 'a>;

#[test]
fn only_small_files_are_read_for_flags() {
    let tiny = Tiny::of("checkpoint");
    let model = tiny.path("tiny.gguf");
    let data = tiny.path("data.csv");
    fs::write(&data, "comment,label\n좋아요,1\n").unwrap();
    let (cert, key) = (tiny.path("cert.pem"), tiny.path("key.pem"));
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&cert, pair.cert.pem()).unwrap();
    fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let serve = |flags: &[(&str, &Path)]| {
        let mut command = binary();
        command
            .args(["serve", "--log-level", "error", "--listen", "127.0.0.1:0", "--no-warm-up", "--model"])
            .arg(&model);
        command.args(flags.iter().flat_map(|(flag, file)| [OsStr::new(flag), file.as_os_str()]));
        command
    };
    let ask = |flags: &[(&str, &Path)]| {
        let mut command = binary();
        command.args(["classify", "네", "--endpoint", "https://127.0.0.1:1"]);
        command.args(flags.iter().flat_map(|(flag, file)| [OsStr::new(flag), file.as_os_str()]));
        command
    };
    let commands: [(&str, Make<'_>); 9] = [
        ("--tokens", Box::new(|bad| serve(&[("--tokens", bad)]))),
        ("--tls-cert", Box::new(|bad| serve(&[("--tls-cert", bad), ("--tls-key", &key)]))),
        ("--tls-key", Box::new(|bad| serve(&[("--tls-cert", &cert), ("--tls-key", bad)]))),
        (
            "--tls-client-ca",
            Box::new(|bad| serve(&[("--tls-cert", &cert), ("--tls-key", &key), ("--tls-client-ca", bad)])),
        ),
        ("--token-file", Box::new(|bad| ask(&[("--token-file", bad)]))),
        ("--tls-ca", Box::new(|bad| ask(&[("--tls-ca", bad)]))),
        ("client's --tls-cert", Box::new(|bad| ask(&[("--tls-cert", bad), ("--tls-key", &key)]))),
        ("client's --tls-key", Box::new(|bad| ask(&[("--tls-cert", &cert), ("--tls-key", bad)]))),
        (
            "--labels-file",
            Box::new(|bad| {
                let mut command = binary();
                command.arg("eval").arg("--model").arg(&model).arg("--data").arg(&data);
                command.arg("--labels-file").arg(bad);
                command
            }),
        ),
    ];
    for (bad, expect) in unfit(&tiny) {
        for (flag, command) in &commands {
            let message = refusal(&mut command(&bad));
            assert!(message.contains(expect), "{flag} {}: {message}", bad.display());
        }
    }
}

#[test]
fn a_comment_from_standard_input_is_a_comment() {
    let tiny = Tiny::of("checkpoint");
    let large = tiny.path("large");
    File::create(&large).unwrap().set_len(2 << 20).unwrap();
    let mut command = binary();
    command.args(["classify", "-", "--endpoint", "127.0.0.1:1"]).stdin(File::open(&large).unwrap());
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("more than a comment"), "{message}");
}
