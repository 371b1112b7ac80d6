//! A hub of our own, over a bare socket, that does one thing otherwise than it should; and another host beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ko_sentiment::convert::input::hub::{Hub, HubSettings, Patience};
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const TOKEN: &str = "hf_TheSecretOfThisTest";

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Whether the other host was asked.
    pub by_other: bool,
    /// How many requests for the same path came before to the same host.
    pub nth: usize,
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    /// The file's name, where it is one.
    pub fn file(&self) -> &str {
        self.path.split('?').next().unwrap().rsplit('/').next().unwrap()
    }

    pub fn is_info(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// Whether only the first byte is asked for, to learn what the file is.
    pub fn is_about(&self) -> bool {
        self.headers.get("range").is_some_and(|range| range == "bytes=0-0")
    }

    pub fn is_data_of(&self, file: &str) -> bool {
        !self.is_info() && !self.is_about() && self.file() == file
    }

    /// First and last byte of what is asked for.
    fn range(&self, size: usize) -> Option<(usize, usize)> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap_or(size - 1).min(size - 1)))
    }
}

/// What comes after the body that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Close,
    /// Nothing more, on an open connection.
    Silence,
    /// A byte now and then.
    Trickle,
    /// Chunks without end.
    Endless,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `Content-Length`, if it isn't the body's.
    pub announced: Option<usize>,
    pub after: After,
    /// Sent in place of all this.
    pub raw: Option<Vec<u8>>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            announced: None,
            after: After::Close,
            raw: None,
        }
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::new(0, "") }
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(302, "").with("Location", to)
    }

    /// Sets a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    /// Sends only the first `n` bytes of the body, and announces all.
    pub fn cut(mut self, n: usize, after: After) -> Self {
        self.announced = Some(self.body.len());
        self.body.truncate(n);
        self.after = after;
        self
    }
}

/// What the repository has, and where both hosts are.
pub struct Site {
    pub files: BTreeMap<String, Vec<u8>>,
    pub url: String,
    pub other: String,
}

impl Site {
    /// As on the hub: SHA-256 for weights, git's blob for the rest.
    pub fn etag(&self, file: &str) -> String {
        let bytes = &self.files[file];
        if file.ends_with(".safetensors") {
            return hex(&Sha256::digest(bytes));
        }
        hex(&Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
    }

    /// The list of files, as `huggingface_hub` asks for it.
    fn tree(&self) -> Answer {
        let entry = |(name, bytes): (&String, &Vec<u8>)| {
            let mut entry = serde_json::json!({
                "type": "file", "path": name, "size": bytes.len(), "oid": hex(&Sha1::digest(bytes)),
            });
            if name.ends_with(".safetensors") {
                entry["lfs"] =
                    serde_json::json!({ "oid": self.etag(name), "size": bytes.len(), "pointerSize": 130 });
            }
            entry
        };
        let entries: Vec<_> = self.files.iter().map(entry).collect();
        Answer::new(200, serde_json::json!(entries).to_string()).with("Content-Type", "application/json")
    }

    /// What an honest hub answers.
    pub fn honest(&self, asked: &Asked) -> Answer {
        if asked.is_info() && asked.path.contains("/tree/") {
            return self.tree();
        }
        if asked.is_info() {
            let siblings: Vec<_> =
                self.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
            let info = serde_json::json!({ "id": "me/model", "sha": COMMIT, "siblings": siblings });
            return Answer::new(200, info.to_string()).with("Content-Type", "application/json");
        }
        let Some(bytes) = self.files.get(asked.file()) else { return Answer::new(404, "") };
        let about = |answer: Answer| {
            answer
                .with("ETag", &format!("\"{}\"", self.etag(asked.file())))
                .with("X-Repo-Commit", COMMIT)
                .with("Accept-Ranges", "bytes")
        };
        match asked.range(bytes.len()) {
            None => about(Answer::new(200, bytes.clone())),
            Some((first, _)) if first >= bytes.len() => {
                about(Answer::new(416, "")).with("Content-Range", &format!("bytes */{}", bytes.len()))
            }
            Some((first, last)) => about(Answer::new(206, &bytes[first..=last]))
                .with("Content-Range", &format!("bytes {first}-{last}/{}", bytes.len())),
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a hub does otherwise; `None` where it is honest.
pub type Fault = Arc<dyn Fn(&Asked, &Site) -> Option<Answer> + Send + Sync>;

/// Two hosts with one repository, `me/model`.
pub struct Server {
    pub site: Arc<Site>,
    fault: Arc<Mutex<Fault>>,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(files: BTreeMap<String, Vec<u8>>, fault: Fault) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [url, other] = [0, 1].map(|i: usize| format!("http://{}", listeners[i].local_addr().unwrap()));
        let server = Self {
            site: Arc::new(Site { files, url, other }),
            fault: Arc::new(Mutex::new(fault)),
            log: Arc::default(),
        };
        for (listener, by_other) in listeners.into_iter().zip([false, true]) {
            let (site, fault, log) = (server.site.clone(), server.fault.clone(), server.log.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (site, fault, log) = (site.clone(), fault.clone(), log.clone());
                    std::thread::spawn(move || {
                        let Some(asked) = read_request(&stream, by_other, &log) else { return };
                        let fault = fault.lock().unwrap().clone();
                        let answer = fault(&asked, &site).unwrap_or_else(|| site.honest(&asked));
                        // The client may have seen enough.
                        let _closed = send(&stream, &answer, &asked.method);
                    });
                }
            });
        }
        server
    }

    pub fn honest(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(files, Arc::new(|_, _| None))
    }

    pub fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The requests since the last call.
    pub fn log(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    pub fn settings(&self, cache: &Path) -> HubSettings {
        HubSettings {
            endpoint: Some(self.site.url.clone()),
            cache: Some(cache.to_owned()),
            token: Some(TOKEN.to_owned()),
            offline: false,
            patience: quick(),
        }
    }

    pub fn client(&self, cache: &Path) -> Hub {
        Hub::new(self.settings(cache)).unwrap()
    }
}

/// Short waits, long enough for a busy machine.
pub fn quick() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        first_byte: Duration::from_secs(3),
        stall: Duration::from_millis(1500),
        retries: 2,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
    }
}

fn read_request(stream: &TcpStream, by_other: bool, log: &Mutex<Vec<Asked>>) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut log = log.lock().unwrap();
    let asked = Asked { by_other, nth: 0, method, path, headers };
    let is_same = |other: &&Asked| {
        (other.by_other, &other.path, other.is_about()) == (by_other, &asked.path, asked.is_about())
    };
    let nth = log.iter().filter(is_same).count();
    let asked = Asked { nth, ..asked };
    log.push(asked.clone());
    Some(asked)
}

fn send(mut stream: &TcpStream, answer: &Answer, method: &str) -> std::io::Result<()> {
    if let Some(raw) = &answer.raw {
        return stream.write_all(raw);
    }
    let headers: String = answer.headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let length = match answer.after {
        After::Endless => "Transfer-Encoding: chunked".to_owned(),
        _ => format!("Content-Length: {}", answer.announced.unwrap_or(answer.body.len())),
    };
    let head = format!("HTTP/1.1 {} X\r\n{length}\r\nConnection: close\r\n{headers}\r\n", answer.status);
    stream.write_all(head.as_bytes())?;
    if method == "HEAD" {
        return Ok(());
    }
    match answer.after {
        After::Close => stream.write_all(&answer.body),
        After::Silence => {
            stream.write_all(&answer.body)?;
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        After::Trickle => loop {
            stream.write_all(b"x")?;
            std::thread::sleep(Duration::from_millis(100));
        },
        After::Endless => loop {
            stream.write_all(b"10000\r\n")?;
            stream.write_all(&[b'z'; 0x10000])?;
            stream.write_all(b"\r\n")?;
        },
    }
}
