//! Paths to write to: only a file is ever replaced.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::process::Command;

use super::{Tiny, names, refusal};
use crate::support::binary;

#[test]
fn a_target_that_is_no_file_stays() {
    let tiny = Tiny::of("checkpoint");
    let base = tiny.path("tiny.gguf");
    let (fifo, link, other) = (tiny.path("fifo"), tiny.path("link"), tiny.path("other"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::write(&other, "kept").unwrap();
    symlink(&other, &link).unwrap();
    let data = tiny.path("data.csv");
    fs::write(&data, "comment,label\n좋아요,긍정\n싫어요,부정\n").unwrap();
    let before = names(fifo.parent().unwrap());
    for target in [&fifo, &link] {
        let mut convert = binary();
        convert.args(["convert-model", "--quant", "Q8_0", "--force", "--base"]).arg(&base);
        let message = refusal(convert.arg("--out").arg(target));
        assert!(message.contains("is not a file, but a link, a pipe or a device"), "{message}");
    }
    let mut eval = binary();
    eval.arg("eval").arg("--model").arg(&base).arg("--data").arg(&data).arg("--predictions").arg(&fifo);
    let message = refusal(&mut eval);
    assert!(message.contains("not a file"), "{message}");
    assert_eq!(names(fifo.parent().unwrap()), before);
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
}
