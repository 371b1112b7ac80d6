//! Hub ids, against a hub of our own: a few lines of HTTP on a local port.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ko_sentiment::convert::Base;
use ko_sentiment::convert::input::hub::{Hub, HubError, HubId, HubSettings, Part, Report};
use ko_sentiment::gguf::tensor_type::FileType;

use sha2::{Digest, Sha256};

use super::support::{AdapterFolder, Checkpoint, Job};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one repository, `me/model`, whose commit is [`SHA`].
struct LocalHub {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    token: Option<&'static str>,
    /// Whether the next download of weights breaks off in the middle.
    break_once: AtomicBool,
    /// `METHOD path range` of each request.
    log: Mutex<Vec<String>>,
}

impl LocalHub {
    fn serve(folder: &Path, token: Option<&'static str>) -> Self {
        let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
        let files = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (name(&entry), fs::read(entry.path()).unwrap()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared =
            Arc::new(Shared { files, token, break_once: AtomicBool::new(false), log: Mutex::default() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serving.answer(stream.unwrap());
            }
        });
        Self { url, shared }
    }

    fn client(&self, cache: &Path, token: Option<&str>) -> Hub {
        let settings = HubSettings {
            endpoint: Some(self.url.clone()),
            cache: Some(cache.to_owned()),
            token: token.map(str::to_owned),
            ..HubSettings::default()
        };
        Hub::new(settings).unwrap()
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock().unwrap())
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(&stream);
        let mut request = String::new();
        reader.read_line(&mut request).unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let range = headers.get("range").cloned().unwrap_or_default();
        self.log.lock().unwrap().push(format!("{path} {range}"));
        let authorised =
            self.token.is_none_or(|token| headers.get("authorization") == Some(&format!("Bearer {token}")));
        let mut out = &stream;
        let mut reply = |status: &str, headers: &str, body: &[u8], announced: usize| {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n{headers}\r\n"
            );
            out.write_all(head.as_bytes()).unwrap();
            // The client may have seen enough.
            let _closed = out.write_all(body);
        };
        if !authorised {
            return reply("401 Unauthorized", "", b"", 0);
        }
        if path == "/api/models/me/model/revision/main" {
            let siblings: Vec<_> =
                self.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let body = serde_json::json!({"sha": SHA, "siblings": siblings}).to_string();
            return reply("200 OK", "Content-Type: application/json\r\n", body.as_bytes(), body.len());
        }
        let file = path
            .strip_prefix(&format!("/me/model/resolve/{SHA}/"))
            .and_then(|name| self.files.get_key_value(name));
        let Some((name, bytes)) = file else { return reply("404 Not Found", "", b"", 0) };
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let start: usize = start.parse().unwrap();
        if start >= bytes.len() {
            return reply("416 Range Not Satisfiable", "", b"", 0);
        }
        let end = end.parse::<usize>().map_or(bytes.len(), |end| end + 1);
        let mut body = &bytes[start..end];
        let etag = etag(name, bytes);
        let headers = format!(
            "ETag: \"{etag}\"\r\nX-Repo-Commit: {SHA}\r\nContent-Range: bytes {start}-{}/{}\r\n",
            end - 1,
            bytes.len()
        );
        let is_weights = name.ends_with(".safetensors") && body.len() > 1;
        let announced = body.len();
        if is_weights && self.break_once.swap(false, Ordering::Relaxed) {
            body = &body[..announced / 2];
        }
        reply("206 Partial Content", &headers, body, announced);
    }
}

/// As on the hub: of weights their SHA-256, of small files something else.
fn etag(name: &str, bytes: &[u8]) -> String {
    match name.strip_suffix(".safetensors") {
        Some(_) => Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect(),
        None => format!("{name}-etag"),
    }
}

fn id() -> HubId {
    HubId::parse("me/model").unwrap()
}

#[test]
fn a_checkpoint_comes_once_and_then_from_the_cache() {
    let checkpoint = Checkpoint::tiny();
    let local = checkpoint.write();
    let hub = LocalHub::serve(local, Some("hf_secret"));
    let cache = tempfile::tempdir().unwrap();
    let client = hub.client(cache.path(), Some("hf_secret"));
    let reported = Mutex::new(Vec::new());
    let folder = client
        .folder(&id(), Part::Model, &|report| match report {
            Report::Bytes { file, size, done } if size == done => {
                reported.lock().unwrap().push(file.to_owned())
            }
            _ => {}
        })
        .unwrap();
    for file in fs::read_dir(local).unwrap() {
        let file = file.unwrap();
        assert_eq!(fs::read(folder.join(file.file_name())).unwrap(), fs::read(file.path()).unwrap());
    }
    assert!(reported.into_inner().unwrap().iter().any(|f| f == "model-00003-of-00003.safetensors"));
    assert!(matches!(Base::open(&folder), Ok(Base::Checkpoint(_))));
    hub.log();
    assert_eq!(client.folder(&id(), Part::Model, &|_| {}).unwrap(), folder);
    assert_eq!(hub.log(), ["/api/models/me/model/revision/main "], "nothing is downloaded again");

    let offline = HubSettings {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        cache: Some(cache.path().to_owned()),
        ..HubSettings::default()
    };
    assert_eq!(Hub::new(offline).unwrap().folder(&id(), Part::Model, &|_| {}).unwrap(), folder);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let adapter = AdapterFolder::of("lora");
    let local = adapter.write();
    let hub = LocalHub::serve(local, None);
    hub.shared.break_once.store(true, Ordering::Relaxed);
    let cache = tempfile::tempdir().unwrap();
    let folder = hub.client(cache.path(), None).folder(&id(), Part::Adapter, &|_| {}).unwrap();
    let whole = fs::read(local.join("adapter_model.safetensors")).unwrap();
    assert_eq!(fs::read(folder.join("adapter_model.safetensors")).unwrap(), whole);
    let resumed = format!("bytes={}-", whole.len() / 2);
    assert!(hub.log().iter().any(|request| request.ends_with(&resumed)), "the second half alone came again");

    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let out = base.join("out.gguf");
    Job::new(base, FileType::Q4KM, &out).with_adapter(&folder).run().unwrap();
}

/// What a process that died just before the end leaves: all bytes without a name, too many, damaged
/// ones, or a blob that no snapshot links to. None of it needs a hand.
#[test]
fn a_download_that_died_at_its_end_is_mended() {
    let weights = "adapter_model.safetensors";
    let adapter = AdapterFolder::of("lora");
    let local = adapter.write();
    let whole = fs::read(local.join(weights)).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let longer = [whole.as_slice(), b"x"].concat();
    type Case<'a> = (&'static str, &'static str, &'a [u8], bool);
    let cases: [Case; 5] = [
        ("whole", "part", &whole, false),
        ("damaged", "part", &damaged, true),
        ("too long", "part", &longer, true),
        ("not linked", "", &whole, false),
        ("cut off", "", &whole[1..], true),
    ];
    for (what, extension, bytes, downloads) in cases {
        let hub = LocalHub::serve(local, None);
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("models--me--model/blobs");
        fs::create_dir_all(&blobs).unwrap();
        let blob = blobs.join(etag(weights, &whole));
        fs::write(blob.with_extension(extension), bytes).unwrap();
        let folder = hub.client(cache.path(), None).folder(&id(), Part::Adapter, &|_| {}).unwrap();
        assert_eq!(fs::read(folder.join(weights)).unwrap(), whole, "{what}");
        assert!(!blob.with_extension("part").exists(), "{what}");
        let is_data = |request: &String| request.contains(weights) && !request.ends_with("bytes=0-0");
        assert_eq!(hub.log().iter().any(is_data), downloads, "{what}");
        let link = fs::read_link(folder.join(weights)).unwrap();
        assert_eq!(fs::canonicalize(folder.join(&link)).unwrap(), fs::canonicalize(&blob).unwrap(), "{what}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let checkpoint = Checkpoint::tiny();
    let hub = LocalHub::serve(checkpoint.write(), Some("hf_secret"));
    let cache = tempfile::tempdir().unwrap();
    let fetch = |id: &str, token| {
        hub.client(cache.path(), token).folder(&HubId::parse(id).unwrap(), Part::Model, &|_| {}).unwrap_err()
    };
    assert!(matches!(fetch("me/model", None), HubError::Denied(_)));
    assert!(matches!(fetch("me/model", Some("hf_wrong")), HubError::Denied(_)));
    assert!(matches!(fetch("me/nothing", Some("hf_secret")), HubError::NotFound(_)));
    assert!(matches!(fetch("me/model@v2", Some("hf_secret")), HubError::NotFound(_)));
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

/// A quantised model, and an adapter that can't be merged, cost no download of weights.
#[test]
fn what_the_small_files_refuse_is_refused_before_the_weights() {
    let mut model = Checkpoint::tiny();
    model.config["quantization_config"] = serde_json::json!({"quant_method": "awq", "bits": 4});
    let base = Checkpoint::tiny();
    let local = base.write().to_str().unwrap();
    let mut adapter = AdapterFolder::of("lora");
    adapter.config["peft_type"] = "PROMPT_TUNING".into();
    let check = |folder: &Path, args: &[&str], words: &str| {
        let hub = LocalHub::serve(folder, None);
        let home = tempfile::tempdir().unwrap();
        let mut command = crate::support::binary();
        command.args(["convert-model", "--dry-run", "--out", "x.gguf"]).args(args);
        command.env("HF_ENDPOINT", &hub.url).env("HF_HOME", home.path());
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(words), "{message}");
        let log = hub.log();
        assert!(log.iter().any(|request| request.contains("config.json")), "{log:?}");
        assert!(!log.iter().any(|request| request.contains("safetensors ")), "{log:?}");
    };
    check(model.write(), &["--base", "me/model"], "quantised (awq)");
    check(adapter.write(), &["--base", local, "--adapter", "me/model"], "PROMPT_TUNING");
}
