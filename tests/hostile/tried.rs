//! A model file is tried in a child process before its first load, and remembered.

use std::fs::{self, File};
use std::time::SystemTime;

use super::{Tiny, finished};
use crate::support::binary;

#[test]
fn a_file_is_tried_once() {
    let tiny = Tiny::of("checkpoint");
    let (model, caches) = (tiny.path("tiny.gguf"), tiny.path("caches"));
    let list = caches.join("ko-sentiment/tried-models");
    let known = || fs::read_to_string(&list).map_or(0, |text| text.lines().count());
    let check = |flags: &[&str], expect: usize| {
        let mut command = binary();
        command.args(["classify", "네", "--model"]).arg(&model).args(flags).env("XDG_CACHE_HOME", &caches);
        let output = finished(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(known(), expect, "{flags:?}");
    };
    check(&["--trust-model"], 0);
    check(&[], 1);
    check(&[], 1);
    File::open(&model).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    check(&[], 2);
    // A list that cannot be written costs a trial and nothing else.
    fs::remove_file(&list).unwrap();
    fs::create_dir(&list).unwrap();
    check(&[], 0);
}
