//! The hub's cache: shared with `huggingface_hub` and with other processes, used without a connection, and mended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ko_sentiment::convert::input::hub::{Hub, HubError, HubId, HubSettings, Part, Report};

use super::hostile_hub::model;
use super::hub_server::{After, Answer, Asked, Server, TOKEN, quick};
use super::support::Checkpoint;
use crate::support::{binary, root};

const FIRST: &str = "model-00001-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
const ADAPTER: &str = "adapter_model.safetensors";

/// Downloads `me/model`; what was noted meanwhile.
fn take(hub: &Hub, part: Part) -> (Result<PathBuf, HubError>, Vec<String>) {
    let notes = Mutex::new(Vec::new());
    let on_report = |report: Report| {
        if let Report::Note(note) = report {
            notes.lock().unwrap().push(note.to_owned());
        }
    };
    let result = hub.folder(&HubId::parse("me/model").unwrap(), part, &on_report);
    (result, notes.into_inner().unwrap())
}

fn assert_same(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        assert!(fs::read(folder.join(name)).unwrap() == *bytes, "{name} has other bytes");
    }
}

fn data_requests(log: &[Asked]) -> Vec<&str> {
    log.iter().filter(|asked| asked.is_data_of(asked.file())).map(Asked::file).collect()
}

/// `tests/python/hub.py`; the folder that it prints.
fn python(what: &str, server: &Server, cache: &Path) -> PathBuf {
    let packages = root().join(".python");
    assert!(
        packages.join("huggingface_hub").exists(),
        "huggingface_hub is missing: run `make test`, which fetches it into {}",
        packages.display()
    );
    let output = Command::new("python3")
        .arg(root().join("tests/python/hub.py"))
        .args([what.as_ref(), cache.as_os_str()])
        .env("PYTHONPATH", packages)
        .env("HF_ENDPOINT", &server.site.url)
        .env("HF_HOME", cache)
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn huggingface_hub_finds_what_we_download() {
    let server = Server::honest(model());
    let cache = tempfile::tempdir().unwrap();
    let folder = take(&server.client(cache.path()), Part::Model).0.unwrap();
    server.log();
    assert_eq!(python("find", &server, cache.path()), folder);
    assert!(server.log().is_empty());
    assert_eq!(python("online", &server, cache.path()), folder);
    let log = server.log();
    assert!(
        !log.iter().any(|asked| asked.method == "GET" && !asked.is_info()),
        "it downloads nothing: {log:?}"
    );
}

#[test]
fn we_find_what_huggingface_hub_downloads() {
    let server = Server::honest(model());
    let cache = tempfile::tempdir().unwrap();
    let folder = python("fetch", &server, cache.path());
    assert_same(&folder, &server.site.files);
    server.log();
    let (found, notes) = take(&server.client(cache.path()), Part::Model);
    assert_eq!((found.unwrap(), notes), (folder.clone(), vec![]));
    let log = server.log();
    assert!(log.iter().all(Asked::is_info) && log.len() == 1, "nothing is downloaded again: {log:?}");
    let offline = Hub::new(HubSettings { offline: true, ..server.settings(cache.path()) }).unwrap();
    assert_eq!(take(&offline, Part::Model).0.unwrap(), folder);
    assert!(server.log().is_empty());
}

#[test]
fn the_cache_stands_in_only_when_told_or_when_nobody_answers() {
    let server = Server::honest(model());
    let cache = tempfile::tempdir().unwrap();
    let offline = HubSettings { offline: true, ..server.settings(cache.path()) };
    let error = take(&Hub::new(offline.clone()).unwrap(), Part::Model).0.unwrap_err();
    assert!(matches!(error, HubError::NotCached { .. }), "{error}");
    assert!(error.to_string().contains("without --offline or HF_HUB_OFFLINE"), "{error}");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);

    let folder = take(&server.client(cache.path()), Part::Model).0.unwrap();
    server.log();
    let (found, notes) = take(&Hub::new(offline.clone()).unwrap(), Part::Model);
    assert_eq!((found.unwrap(), notes), (folder.clone(), vec![]));
    assert!(server.log().is_empty());

    let nobody =
        HubSettings { endpoint: Some("http://127.0.0.1:1".to_owned()), ..server.settings(cache.path()) };
    let (found, notes) = take(&Hub::new(nobody).unwrap(), Part::Model);
    assert_eq!(found.unwrap(), folder);
    assert!(
        notes.iter().any(|n| n.contains("can't be reached") && n.contains("from the cache")),
        "{notes:?}"
    );

    for status in [401, 403, 404, 429, 500, 503] {
        server.set_fault(Arc::new(move |_, _| Some(Answer::new(status, ""))));
        assert!(
            take(&server.client(cache.path()), Part::Model).0.is_err(),
            "{status}: a hub that answers decides"
        );
    }

    fs::remove_file(folder.join(FIRST)).unwrap();
    let error = take(&Hub::new(offline).unwrap(), Part::Model).0.unwrap_err();
    assert!(error.to_string().contains(FIRST), "{error}");
}

#[test]
fn the_next_run_goes_on_with_a_short_file() {
    let server = Server::honest(model());
    server.set_fault(Arc::new(|asked, site| {
        let is_short = asked.is_data_of(FIRST) && site.files.contains_key(FIRST);
        is_short.then(|| match asked.nth {
            0 => site.honest(asked).cut(150_000, After::Close),
            _ => Answer::new(500, ""),
        })
    }));
    let cache = tempfile::tempdir().unwrap();
    assert!(take(&server.client(cache.path()), Part::Model).0.is_err());
    server.log();
    server.set_fault(Arc::new(|_, _| None));
    let folder = take(&server.client(cache.path()), Part::Model).0.unwrap();
    assert_same(&folder, &server.site.files);
    let log = server.log();
    let resumed = log.iter().find(|asked| asked.is_data_of(FIRST)).unwrap();
    assert_eq!(resumed.headers["range"], "bytes=150000-");
    assert_eq!(resumed.headers["if-range"], format!("\"{}\"", server.site.etag(FIRST)));
}

#[test]
fn a_file_that_changed_in_the_cache_comes_again() {
    let server = Server::honest(model());
    let cache = tempfile::tempdir().unwrap();
    let folder = take(&server.client(cache.path()), Part::Model).0.unwrap();
    for (what, change) in [
        ("a byte", (|bytes: &mut Vec<u8>| bytes[7] ^= 1) as fn(&mut Vec<u8>)),
        ("shorter", |bytes| bytes.truncate(100)),
        ("longer", |bytes| bytes.push(0)),
        ("empty", Vec::clear),
    ] {
        let mut bytes = server.site.files[FIRST].clone();
        change(&mut bytes);
        fs::write(folder.join(FIRST), bytes).unwrap();
        let offline = Hub::new(HubSettings { offline: true, ..server.settings(cache.path()) }).unwrap();
        let error = take(&offline, Part::Model).0.unwrap_err().to_string();
        assert!(error.contains("incomplete or damaged"), "{what}: {error}");
        server.log();
        assert_same(&take(&server.client(cache.path()), Part::Model).0.unwrap(), &server.site.files);
        assert_eq!(data_requests(&server.log()), [FIRST], "{what}");
    }
}

#[test]
fn two_processes_download_a_file_once() {
    let server = Server::honest(model());
    let (begun, has_begun) = std::sync::mpsc::channel();
    let begun = Mutex::new(begun);
    server.set_fault(Arc::new(move |asked, _| {
        if asked.is_data_of(FIRST) {
            begun.lock().unwrap().send(()).unwrap();
            std::thread::sleep(Duration::from_millis(700));
        }
        None
    }));
    let cache = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let one = scope.spawn(|| take(&server.client(cache.path()), Part::Model).0.unwrap());
        has_begun.recv().unwrap();
        let (folder, notes) = take(&server.client(cache.path()), Part::Model);
        assert!(notes.iter().any(|note| note.contains("another process")), "{notes:?}");
        assert_same(&folder.unwrap(), &server.site.files);
        one.join().unwrap();
    });
    let log = server.log();
    assert_eq!(data_requests(&log).iter().filter(|file| **file == FIRST).count(), 1, "{log:?}");
}

#[test]
fn the_small_files_come_before_any_weight_is_asked_for() {
    let server = Server::honest(model());
    let cache = tempfile::tempdir().unwrap();
    let hub = server.client(cache.path());
    let id = HubId::parse("me/model").unwrap();
    let download = hub.open(&id, Part::Model, &|_| {}).unwrap();
    assert_eq!(fs::read(download.folder().join("config.json")).unwrap(), model()["config.json"]);
    assert!(!server.log().iter().any(|asked| asked.file().ends_with(".safetensors")));
    download.weights().unwrap();
    assert_same(&download.folder(), &server.site.files);
}

/// Repositories with more than one thing in them.
#[test]
fn each_use_takes_its_part_and_says_so() {
    type Case =
        (&'static str, &'static [&'static str], Part, Result<&'static str, &'static str>, &'static str);
    let cases: [Case; 8] = [
        ("both, as a model", &[SINGLE, ADAPTER], Part::Model, Ok(SINGLE), "taking the model"),
        ("both, as an adapter", &[SINGLE, ADAPTER], Part::Adapter, Ok(ADAPTER), "taking the adapter"),
        ("an adapter as a model", &[ADAPTER], Part::Model, Err("give it as --adapter"), ""),
        ("a model as an adapter", &[SINGLE], Part::Adapter, Err("give it as --base"), ""),
        ("a pickled adapter", &["adapter_model.bin"], Part::Adapter, Err("safe_serialization"), ""),
        ("an index without its shards", &[SINGLE, INDEX], Part::Model, Ok(SINGLE), "which is not there"),
        (
            "weights twice",
            &[SINGLE, INDEX, FIRST, "model-00002-of-00002.safetensors"],
            Part::Model,
            Err("has both"),
            "",
        ),
        ("shards that are gone", &[INDEX, FIRST], Part::Model, Err("the hub has no model-00002"), ""),
    ];
    for (what, names, part, expect, note) in cases {
        let whole = model();
        let bytes = |name: &str| whole.get(name).cloned().unwrap_or_else(|| name.as_bytes().to_vec());
        let files = names.iter().chain(&["config.json", "adapter_config.json"]);
        let server = Server::honest(files.map(|name| ((*name).to_owned(), bytes(name))).collect());
        let cache = tempfile::tempdir().unwrap();
        let (result, notes) = take(&server.client(cache.path()), part);
        let log = server.log();
        let weights: Vec<&str> =
            data_requests(&log).into_iter().filter(|file| file.ends_with(".safetensors")).collect();
        match (result, expect) {
            (Ok(_), Ok(file)) => assert_eq!(weights, [file], "{what}"),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part) && weights.is_empty(), "{what}: {error}");
            }
            (result, expect) => panic!("{what}: {result:?} instead of {expect:?}"),
        }
        assert_eq!(notes.iter().any(|n| n.contains(note)), !note.is_empty(), "{what}: {notes:?}");
    }
}

#[test]
fn settings_that_can_not_be_used_are_said_and_not_shown() {
    let error = |endpoint: &str, token: &str| {
        let settings = HubSettings {
            endpoint: Some(endpoint.to_owned()),
            cache: Some(PathBuf::from("/nowhere")),
            token: Some(token.to_owned()),
            patience: quick(),
            ..HubSettings::default()
        };
        Hub::new(settings).unwrap_err().to_string()
    };
    for endpoint in
        ["ftp://hub", "hub.example", "https://user:secret@hub.example", "https://hub.example/?x=secret"]
    {
        let error = error(endpoint, "hf_x");
        assert!(error.contains("HF_ENDPOINT") && !error.contains("secret"), "{error}");
    }
    for token in ["hf_secret\r\nX-Evil: 1", "hf_secret secret", "hf_secret\u{e9}"] {
        let error = error("https://hub.example", token);
        assert!(error.contains("HF_TOKEN") && !error.contains("secret"), "{error}");
    }
}

/// The binary, with all logs on: the token is nowhere, and the second run needs no hub.
#[test]
fn the_command_downloads_and_then_does_without() {
    let checkpoint = Checkpoint::tiny();
    let files = fs::read_dir(checkpoint.write()).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|f| (f.file_name().into_string().unwrap(), fs::read(f.path()).unwrap())).collect();
    let server = Server::honest(files);
    server.set_fault(Arc::new(|asked, site| {
        let is_ours = !asked.by_other && asked.file().ends_with(".safetensors");
        is_ours.then(|| Answer::redirect(&format!("{}{}", site.other, asked.path)))
    }));
    let home = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let output = binary()
            .args(["convert-model", "--base", "me/model", "--dry-run", "--out"])
            .arg(home.path().join("out.gguf"))
            .args(more)
            .env("HF_ENDPOINT", &server.site.url)
            .env("HF_HOME", home.path())
            .env("HF_TOKEN", TOKEN)
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap()).concat();
        assert!(!text.contains(TOKEN), "{text}");
        (output.status.success(), text, server.log())
    };
    let (is_good, text, log) = run(&["--offline"]);
    assert!(!is_good && log.is_empty() && text.contains("not in the cache"), "{text}");
    let (is_good, text, log) = run(&[]);
    assert!(is_good && text.contains("downloading model-00001-of-00003.safetensors"), "{text}");
    let told: Vec<&Asked> = log.iter().filter(|asked| asked.headers.contains_key("authorization")).collect();
    assert!(!told.is_empty() && told.iter().all(|asked| !asked.by_other), "{told:?}");
    assert!(log.iter().any(|asked| asked.by_other));
    let (is_good, text, log) = run(&["--offline"]);
    assert!(is_good && log.is_empty(), "{text}");
}
