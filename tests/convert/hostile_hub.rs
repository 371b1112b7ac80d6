//! A hub that does one wrong thing at a time: the result is right or there is none, nothing outside the repository's
//! folder in the cache changes, and nobody but the hub sees the token.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ko_sentiment::convert::input::hub::{HubId, Part, Report};
use serde_json::json;

use super::hub_server::{After, Answer, Asked, COMMIT, Fault, Server, Site, TOKEN};

const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn noise(n_bytes: usize, seed: u32) -> Vec<u8> {
    let next = |x: &mut u32| {
        *x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*x >> 24) as u8)
    };
    std::iter::repeat_n((), n_bytes).scan(seed, |x, ()| next(x)).collect()
}

fn index(shards: [&str; 2]) -> Vec<u8> {
    json!({ "weight_map": { "a": shards[0], "b": shards[1] } }).to_string().into_bytes()
}

/// A model of two shards; what is in them the hub doesn't know.
pub fn model() -> BTreeMap<String, Vec<u8>> {
    let file = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    BTreeMap::from([
        file("config.json", b"{\"model_type\": \"gemma2\"}".to_vec()),
        file("tokenizer.model", noise(9_000, 1)),
        file(INDEX, index([FIRST, SECOND])),
        file(FIRST, noise(300_000, 2)),
        file(SECOND, noise(200_000, 3)),
    ])
}

/// Everything below a folder, but the repository's part of the cache.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("cache/models--me--model") || path.ends_with("cache/.locks") {
            continue;
        }
        let is_folder = fs::symlink_metadata(&path).unwrap().is_dir();
        let content = fs::read_link(&path).map(|to| to.into_os_string().into_encoded_bytes());
        let content = content.or_else(|_| fs::read(&path)).unwrap_or_default();
        found.insert(path.clone(), content);
        if is_folder {
            found.extend(tree(&path));
        }
    }
    found
}

/// A place with a cache and something that must not change.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home/cache")).unwrap();
        fs::create_dir_all(root.path().join("outside")).unwrap();
        fs::write(root.path().join("outside/precious.safetensors"), "precious").unwrap();
        Self { root }
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("home/cache")
    }

    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }

    fn repository(&self) -> PathBuf {
        self.cache().join("models--me--model")
    }
}

/// What comes of a download.
struct Outcome {
    result: Result<PathBuf, String>,
    notes: Vec<String>,
    log: Vec<Asked>,
}

/// Downloads, and checks what must hold whatever the hub does.
fn download(what: &str, server: &Server, place: &Place, id: &str) -> Outcome {
    let before = tree(place.root.path());
    let notes = Mutex::new(Vec::new());
    let on_report = |report: Report| match report {
        Report::Note(note) => notes.lock().unwrap().push(note.to_owned()),
        Report::Bytes { size, done, .. } => assert!(done <= size, "{what}: {done} of {size} bytes"),
    };
    let hub = server.client(&place.cache());
    let result = hub.folder(&HubId::parse(id).unwrap(), Part::Model, &on_report);
    let result = result.map_err(|error| error.to_string());
    assert_eq!(tree(place.root.path()), before, "{what}: something outside changed");
    let (notes, log) = (notes.into_inner().unwrap(), server.log());
    for asked in &log {
        let has_token = asked.headers.values().any(|value| value.contains(TOKEN));
        assert_eq!(has_token, !asked.by_other, "{what}: {asked:?}");
        assert!(!asked.path.contains(TOKEN));
    }
    for text in notes.iter().chain(result.as_ref().err()) {
        assert!(!text.contains(TOKEN) && text.chars().count() <= 400, "{what}: {text}");
        assert!(!text.contains("signature") && !text.chars().any(char::is_control), "{what}: {text:?}");
    }
    if let Ok(folder) = &result {
        for (name, bytes) in &server.site.files {
            assert!(fs::read(folder.join(name)).unwrap() == *bytes, "{what}: {name} has other bytes");
        }
    }
    Outcome { result, notes, log }
}

type Row =
    (&'static str, Result<(), &'static str>, Box<dyn Fn(&Asked, &Site) -> Option<Answer> + Send + Sync>);

fn row(
    what: &'static str,
    expect: Result<(), &'static str>,
    fault: impl Fn(&Asked, &Site) -> Option<Answer> + Send + Sync + 'static,
) -> Row {
    (what, expect, Box::new(fault))
}

/// Runs a table: each row against an empty cache. After a refusal, an honest hub mends the same cache.
fn check(rows: Vec<Row>) {
    for (what, expect, fault) in rows {
        let place = Place::new();
        let server = Server::start(model(), Arc::new(fault) as Fault);
        let outcome = download(what, &server, &place, "me/model");
        match (&outcome.result, expect) {
            (Ok(_), Ok(())) => continue,
            (Err(error), Err(part)) => assert!(error.contains(part), "{what}: {error}"),
            (result, expect) => panic!("{what}: {result:?} instead of {expect:?}"),
        }
        server.set_fault(Arc::new(|_, _| None));
        let mended = download(what, &server, &place, "me/model");
        assert!(mended.result.is_ok(), "{what}, then an honest hub: {:?}", mended.result);
    }
}

/// A fault in what the hub says of the repository.
fn info(
    what: &'static str,
    expect: Result<(), &'static str>,
    answer: impl Fn(&Asked, &Site) -> Answer + Send + Sync + 'static,
) -> Row {
    row(what, expect, move |asked, site| asked.is_info().then(|| answer(asked, site)))
}

fn info_json(json: serde_json::Value) -> impl Fn(&Asked, &Site) -> Answer {
    move |_, _| Answer::new(200, json.to_string())
}

#[test]
fn what_it_says_of_the_repository() {
    let no_json = Err("not the JSON of a hub");
    let no_commit = Err("is not 40 hexadecimal digits");
    let listed = |name: &str| json!({ "sha": COMMIT, "siblings": [{ "rfilename": name }] });
    let first_is = |status: u16, retry_after: &'static str| {
        move |asked: &Asked, site: &Site| match asked.nth {
            0 => Answer::new(status, "").with("Retry-After", retry_after),
            _ => site.honest(asked),
        }
    };
    check(vec![
        info("HTML", no_json, |_, _| Answer::new(200, "<html>")),
        info("no commit", no_json, info_json(json!({ "siblings": [] }))),
        info("deep JSON", no_json, |_, _| Answer::new(200, "[".repeat(1 << 20))),
        info("a path for a commit", no_commit, info_json(json!({ "sha": "../../../../outside" }))),
        info("an absolute path for a commit", no_commit, info_json(json!({ "sha": "/etc" }))),
        info("control characters for a commit", no_commit, info_json(json!({ "sha": "\u{1b}]0;x\u{7}" }))),
        info("a branch for a commit", no_commit, info_json(json!({ "sha": "main" }))),
        info("no files", Err("no model.safetensors"), info_json(json!({ "sha": COMMIT }))),
        info("only a pickle", Err("safe_serialization"), info_json(listed("pytorch_model.bin"))),
        info("an endless list", Err("longer than"), |_, _| Answer {
            after: After::Endless,
            ..Answer::new(200, "")
        }),
        info("headers without end", Err("127.0.0.1"), |_, _| {
            Answer::new(200, "{}").with("X-Long", &"x".repeat(1 << 20))
        }),
        info("not HTTP", Err("127.0.0.1"), |_, _| Answer::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        info("nothing", Err("broke the connection off"), |_, _| Answer::raw("")),
        info("401", Err("does not accept your token"), |_, _| Answer::new(401, "")),
        info("403", Err("may not read"), |_, _| Answer::new(403, "")),
        info("gated", Err("accept its licence at http://127.0.0.1"), |_, _| {
            Answer::new(403, "").with("X-Error-Code", "GatedRepo")
        }),
        info("404", Err("no such repository or revision"), |_, _| Answer::new(404, "")),
        info("503 for ever", Err("the hub answers 503"), |_, _| Answer::new(503, "")),
        info("429 for an hour", Err("asks to wait 3600 s"), |_, _| {
            Answer::new(429, "").with("Retry-After", "3600")
        }),
        info("429 for ever and ever", Err("asks to wait"), |_, _| {
            Answer::new(429, "").with("Retry-After", "18446744073709551615")
        }),
        info("503 once", Ok(()), first_is(503, "")),
        info("429 once", Ok(()), first_is(429, "0")),
        info("a date to wait for", Ok(()), first_is(429, "Thu, 01 Jan 2099 00:00:00 GMT")),
        info("files that are paths", Ok(()), |asked, site| {
            let mut info: serde_json::Value = serde_json::from_slice(&site.honest(asked).body).unwrap();
            let siblings = info["siblings"].as_array_mut().unwrap();
            for name in ["../../../outside/x", "/etc/passwd", "a/../../b", ".git/config", "", "x\u{1b}[2J"] {
                siblings.push(json!({ "rfilename": name }));
            }
            Answer::new(200, info.to_string())
        }),
    ]);
}

#[test]
fn a_commit_that_was_asked_for_is_the_one_that_comes() {
    let place = Place::new();
    let server = Server::honest(model());
    let other = "ffffffffffffffffffffffffffffffffffffffff";
    let outcome = download("another commit", &server, &place, &format!("me/model@{other}"));
    assert!(outcome.result.unwrap_err().contains("answers with the commit 0123"));
    assert!(!place.repository().exists());
    download("the commit", &server, &place, &format!("me/model@{COMMIT}")).result.unwrap();
    assert!(!place.repository().join("refs").exists(), "a commit needs no reference");
}

/// A fault in what the hub says of `config.json`, before its bytes come.
fn about(
    what: &'static str,
    expect: Result<(), &'static str>,
    change: impl Fn(Answer) -> Answer + Send + Sync + 'static,
) -> Row {
    row(what, expect, move |asked, site| (asked.file() == "config.json").then(|| change(site.honest(asked))))
}

#[test]
fn what_it_says_of_a_file() {
    let no_name = Err("can't be a file's name");
    let etag = |etag: &'static str| move |answer: Answer| answer.with("ETag", etag);
    check(vec![
        about("an ETag that is a path", no_name, etag("\"/tmp/outside/precious.safetensors\"")),
        about("an ETag that climbs", no_name, etag("\"../../../../outside/precious.safetensors\"")),
        about("an ETag of dots", no_name, etag("\"..\"")),
        about("a weak ETag that is a path", no_name, etag("W/\"a/b\"")),
        about("an ETag of a lock", no_name, etag("\"x.lock\"")),
        about("an empty ETag", no_name, etag("\"\"")),
        about("a linked ETag that is a path", no_name, |a| a.with("X-Linked-Etag", "\"../x\"")),
        about("no ETag", Err("no ETag"), |a| a.without("ETag")),
        about("another commit", Err("instead of 0123"), |a| a.with("X-Repo-Commit", &"f".repeat(40))),
        about("a path for a commit", Err("instead of 0123"), |a| a.with("X-Repo-Commit", "../../../x")),
        about("no size", Err("how large"), |a| a.with("Content-Range", "bytes 0-0/*")),
        about("no range", Err("how large"), |a| a.without("Content-Range")),
        about("a negative size", Err("how large"), |a| a.with("Content-Range", "bytes 0-0/-5")),
        about("a linked size that is none", Err("how large"), |a| a.with("X-Linked-Size", "many")),
        about("more than any disk has", Err("bytes free"), |a| {
            a.with("X-Linked-Size", "18446744073709551615")
        }),
        about("403", Err("may not read"), |_| Answer::new(403, "")),
        about("404", Err("the hub has no config.json"), |_| Answer::new(404, "")),
        about("another hash", Err("are not those"), etag("\"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0\"")),
        about("a name that is no hash", Ok(()), etag("\"5f3-62a:1\"")),
    ]);
}

#[test]
fn names_of_shards() {
    for (what, shard, expect) in [
        ("a path", "../../../../outside/model.safetensors", "is no shard's file name"),
        ("into outside", "../../../../outside/precious.safetensors", "is no shard's file name"),
        ("an absolute path", "/tmp/model.safetensors", "is no shard's file name"),
        ("a folder", "sub/model.safetensors", "is no shard's file name"),
        ("backslashes", "..\\model.safetensors", "is no shard's file name"),
        ("another file", "config.json", "is no shard's file name"),
        ("hidden", ".safetensors", "is no shard's file name"),
        ("control characters", "a\u{1b}[2J.safetensors", "is no shard's file name"),
        ("a long one", &("x".repeat(5000) + ".safetensors"), "is no shard's file name"),
        ("one that is not there", "model-00009-of-00009.safetensors", "the hub has no model-00009"),
    ] {
        let (place, mut files) = (Place::new(), model());
        files.insert(INDEX.to_owned(), index([FIRST, shard]));
        let server = Server::honest(files);
        let outcome = download(what, &server, &place, "me/model");
        let error = outcome.result.unwrap_err();
        assert!(error.contains(expect), "{what}: {error}");
        let is_weights = |asked: &Asked| asked.file().ends_with(".safetensors");
        assert!(
            !outcome.log.iter().any(is_weights),
            "{what}: weights were asked for before the index was read"
        );
    }
    for (what, text) in
        [("no JSON", "<html>"), ("a list", r#"{"weight_map": []}"#), ("nothing", r#"{"weight_map": {}}"#)]
    {
        let (place, mut files) = (Place::new(), model());
        files.insert(INDEX.to_owned(), text.as_bytes().to_vec());
        let outcome = download(what, &Server::honest(files), &place, "me/model");
        assert!(outcome.result.unwrap_err().contains(INDEX), "{what}");
    }
}

/// A fault in the bytes of the first shard.
fn data(
    what: &'static str,
    expect: Result<(), &'static str>,
    change: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
) -> Row {
    row(what, expect, move |asked, site| asked.is_data_of(FIRST).then(|| change(asked, site.honest(asked))))
}

fn flip(mut answer: Answer) -> Answer {
    let middle = answer.body.len() / 2;
    answer.body[middle] ^= 1;
    answer
}

#[test]
fn the_bytes() {
    let other_bytes = Err("are not those that the hub announced");
    let whole = |asked: &Asked, site: &Site| {
        let headers = asked.headers.iter().filter(|(name, _)| *name != "range");
        let headers = headers.map(|(n, v)| (n.clone(), v.clone())).collect();
        site.honest(&Asked { headers, ..asked.clone() })
    };
    check(vec![
        data("a bit is another", other_bytes, |_, a| flip(a)),
        data("another bit each time", other_bytes, |asked, mut a| {
            a.body[asked.nth] ^= 1;
            a
        }),
        data("bytes without end", other_bytes, |_, a| Answer { after: After::Endless, ..a }),
        data("half, and nothing more", Err("150000 of 300000 bytes"), |_, mut a| {
            a.body.truncate(a.body.len().saturating_sub(150_000));
            a
        }),
        data("half, then the connection breaks", Ok(()), |asked, a| match asked.nth {
            0 => a.cut(150_000, After::Close),
            _ => a,
        }),
        data("half, then silence", Ok(()), |asked, a| match asked.nth {
            0 => a.cut(150_000, After::Silence),
            _ => a,
        }),
        data("silence", Err("sends nothing any more"), |_, a| a.cut(0, After::Silence)),
        data("a byte now and then", Err("sends almost nothing"), |_, a| a.cut(0, After::Trickle)),
        data("nothing", Err("broke the connection off"), |_, _| Answer::raw("")),
        data("no HTTP", Err("127.0.0.1"), |_, _| Answer::raw("\u{1b}]0;x\u{7}\r\n\r\n")),
        data("another range", Err("another range"), |_, a| a.with("Content-Range", "bytes 5-299999/300000")),
        data("another size", Err("another range"), |_, a| a.with("Content-Range", "bytes 0-299999/300001")),
        data("no range", Err("another range"), |_, a| a.without("Content-Range")),
        data("another file meanwhile", Err("changes while"), |_, a| a.with("ETag", "\"abc\"")),
        data("404", Err("the hub has no model-00001"), |_, _| Answer::new(404, "")),
        data("403", Err("the hub answers 403"), |_, _| Answer::new(403, "")),
        data("500 for ever", Err("the hub answers 500"), |_, _| Answer::new(500, "")),
        data("500 once", Ok(()), |asked, a| if asked.nth == 0 { Answer::new(500, "") } else { a }),
        data("204", Err("the hub answers 204"), |_, _| Answer::new(204, "")),
        row("ranges are ignored", Ok(()), move |asked, site| {
            asked.is_data_of(FIRST).then(|| match asked.nth {
                0 => site.honest(asked).cut(150_000, After::Close),
                _ => whole(asked, site),
            })
        }),
        row("ranges are ignored, and other bytes come", other_bytes, move |asked, site| {
            asked.is_data_of(FIRST).then(|| match asked.nth {
                0 => site.honest(asked).cut(150_000, After::Close),
                _ => flip(whole(asked, site)),
            })
        }),
        row("all of it, and more than announced", Err("another number of bytes"), |asked, _| {
            asked.is_data_of(FIRST).then(|| Answer::new(200, vec![0; 300_001]))
        }),
        row("small files with other bytes", other_bytes, |asked, site| {
            asked.is_data_of("config.json").then(|| flip(site.honest(asked)))
        }),
    ]);
}

/// A fault in where the first shard is.
fn to(
    what: &'static str,
    expect: Result<(), &'static str>,
    location: impl Fn(&Asked, &Site) -> String + Send + Sync + 'static,
) -> Row {
    row(what, expect, move |asked, site| {
        (!asked.by_other && asked.file() == FIRST).then(|| Answer::redirect(&location(asked, site)))
    })
}

/// As the real hub: it says what the file is, and another host has the bytes.
fn linked(asked: &Asked, site: &Site) -> Option<Answer> {
    let is_ours = !asked.by_other && asked.file() == FIRST && !asked.is_info();
    let answer = Answer::redirect(&format!("{}/x/{FIRST}?signature=abc", site.other));
    let etag = format!("\"{}\"", site.etag(FIRST));
    let answer = answer.with("X-Linked-Etag", &etag).with("X-Linked-Size", "300000");
    is_ours.then(|| answer.with("X-Repo-Commit", COMMIT).with("ETag", "\"of-the-redirect\""))
}

/// [`linked`], with what the other host does instead.
fn elsewhere(
    what: &'static str,
    expect: Result<(), &'static str>,
    change: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
) -> Row {
    row(what, expect, move |asked, site| {
        linked(asked, site).or_else(|| asked.by_other.then(|| change(asked, site.honest(asked))))
    })
}

#[test]
fn redirects() {
    let no_address = Err("not an http address");
    check(vec![
        to("another host", Ok(()), |_, site| format!("{}/x/{FIRST}", site.other)),
        to("another host by two slashes", Ok(()), |_, site| {
            format!("{}/x/{FIRST}", site.other.trim_start_matches("http:"))
        }),
        to("a file", no_address, |_, _| "file:///etc/passwd".to_owned()),
        to("ftp", no_address, |_, _| "ftp://127.0.0.1/x".to_owned()),
        to("a user and a password", no_address, |_, site| site.url.replace("http://", "http://a:b@")),
        to("a host after an at sign", no_address, |_, site| format!("http://hub@{}", &site.other[7..])),
        to("spaces", no_address, |_, _| "/a b".to_owned()),
        to("nothing", no_address, |_, _| String::new()),
        to("itself", Err("in a circle"), |asked, _| asked.path.clone()),
        to("always further", Err("more than 10 times"), |asked, _| {
            format!("/{}x/{FIRST}", asked.path.trim_start_matches('/').trim_end_matches(FIRST))
        }),
        to("a port where nobody is", Err("can't be reached"), |_, _| "http://127.0.0.1:1/x".to_owned()),
        row("nowhere", Err("without saying where to"), |asked, _| {
            (asked.file() == FIRST).then(|| Answer::new(302, ""))
        }),
        info("the list to nowhere", Err("without saying where to"), |_, _| Answer::new(302, "")),
        info("the list in a circle", Err("in a circle"), |asked, _| Answer::redirect(&asked.path)),
        elsewhere("large files elsewhere", Ok(()), |_, a| a),
        elsewhere("elsewhere with an ETag of its own", Ok(()), |_, a| a.with("ETag", "\"s3-1\"")),
        elsewhere("elsewhere, and cut off", Ok(()), |asked, a| match asked.nth {
            0 => a.cut(150_000, After::Close),
            _ => a,
        }),
        elsewhere("elsewhere, other bytes", Err("are not those"), |_, a| flip(a)),
        elsewhere("elsewhere, refused", Err("the hub answers 403"), |_, _| Answer::new(403, "")),
        elsewhere("elsewhere, in a circle", Err("in a circle"), |asked, _| Answer::redirect(&asked.path)),
    ]);
}

/// Links in the cache that lead out of it: what is outside stays as it is.
#[test]
fn links_in_the_cache() {
    let whole = |name: &str| super::hub_server::hex(&<sha2::Sha256 as sha2::Digest>::digest(&model()[name]));
    let blob = format!("blobs/{}", whole(FIRST));
    for (what, path) in [
        ("the repository", String::new()),
        ("blobs", "blobs".to_owned()),
        ("snapshots", "snapshots".to_owned()),
        ("a snapshot", format!("snapshots/{COMMIT}")),
        ("refs", "refs".to_owned()),
        ("notes", ".checked".to_owned()),
        ("a blob", blob.clone()),
        ("a blob that comes", format!("{blob}.incomplete")),
    ] {
        let place = Place::new();
        let link = if path.is_empty() { place.repository() } else { place.repository().join(&path) };
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let is_file = path.contains(&blob);
        let target = if is_file { "precious.safetensors" } else { "" };
        symlink(place.outside().join(target), &link).unwrap();
        let outcome = download(what, &Server::honest(model()), &place, "me/model");
        let error = outcome.result.unwrap_err();
        let kind = if is_file { "is not a plain file" } else { "is not a plain folder" };
        assert!(error.contains(kind), "{what}: {error}");
    }
    for (what, path) in
        [("a file", format!("snapshots/{COMMIT}/{FIRST}")), ("a reference", "refs/main".to_owned())]
    {
        let place = Place::new();
        let link = place.repository().join(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(place.outside().join("precious.safetensors"), &link).unwrap();
        let outcome = download(what, &Server::honest(model()), &place, "me/model");
        assert!(outcome.result.is_ok() && outcome.notes.is_empty(), "{what}: it is replaced");
    }
}
