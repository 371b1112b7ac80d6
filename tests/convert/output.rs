//! A file has its name only when it is whole; whatever happens, nothing else is left.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::write::{Control, Progress};
use ko_sentiment::files::output::{Output, OutputError};
use ko_sentiment::gguf::tensor_type::FileType;

use super::support::{AdapterFolder, Checkpoint, Job};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    for stop_at in ["token_embd.weight", "blk.3.attn_k.weight", "verifying"] {
        let cancel = AtomicBool::new(false);
        let progress = |progress: Progress| match progress {
            Progress::Written { tensor, .. } if tensor == stop_at => {
                assert_eq!(names(folder.path()).len(), 1, "there is a temporary file");
                assert!(!out.exists());
                cancel.store(true, Ordering::Relaxed);
            }
            Progress::Verifying if stop_at == "verifying" => cancel.store(true, Ordering::Relaxed),
            _ => {}
        };
        let control = Control { threads: 2, cancel: &cancel, progress: &progress };
        let result = Job::new(base, FileType::Q4KM, &out).run_with(control);
        assert!(matches!(result, Err(ConvertError::Cancelled)), "{stop_at}: {result:?}");
        assert_eq!(names(folder.path()), [""; 0], "{stop_at}");
    }
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "precious").unwrap();
    let job = Job::new(base, FileType::Q4_0, &out);
    let result = job.run();
    assert!(matches!(result, Err(ConvertError::Output(OutputError::Exists(_)))), "{result:?}");
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    let summary = Job { force: true, ..job }.run().unwrap();
    assert_eq!(fs::metadata(&out).unwrap().len(), summary.bytes);
    assert_eq!(names(folder.path()), ["out.gguf"]);
}

#[test]
fn too_little_space_is_found_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let error = Output::create(&out, 1 << 60, false).unwrap_err();
    assert!(matches!(error, OutputError::Space { needed, .. } if needed == 1 << 60), "{error:?}");
    assert_eq!(names(folder.path()), [""; 0]);
}

/// What a killed process left is removed by the next conversion to the same file; what a living one
/// works on, and other files, are not.
#[test]
fn debris_of_a_killed_conversion_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    for name in [".out.gguf.abc123.partial", ".other.gguf.abc123.partial", "out.gguf.partial"] {
        File::create(folder.path().join(name)).unwrap();
    }
    let running = Output::create(&out, 10, false).unwrap();
    let running_name = running.path().file_name().unwrap().to_str().unwrap().to_owned();
    let second = Output::create(&out, 10, false).unwrap();
    let second_name = second.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut expect = vec![
        ".other.gguf.abc123.partial".to_owned(),
        "out.gguf.partial".to_owned(),
        running_name,
        second_name,
    ];
    expect.sort();
    assert_eq!(names(folder.path()), expect);
}

#[test]
fn the_same_input_gives_the_same_file() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let adapter = AdapterFolder::of("lora");
    let adapter = adapter.write();
    let folder = tempfile::tempdir().unwrap();
    let hash = |threads: usize| {
        let out = folder.path().join(format!("{threads}.gguf"));
        let cancel = AtomicBool::new(false);
        let control = Control { threads, cancel: &cancel, progress: &|_| {} };
        Job::new(base, FileType::Q4KM, &out).with_adapter(adapter).run_with(control).unwrap().sha256
    };
    assert_eq!(hash(1), hash(7));
}
