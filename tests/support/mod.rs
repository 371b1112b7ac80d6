//! What the tests share: servers over the fake backend and over the embedded default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ko_sentiment::engine::backend::Limits;
use ko_sentiment::engine::fake::FakeBackend;
use ko_sentiment::engine::{Engine, EngineConfig};
use ko_sentiment::grpc::pb::sentiment_service_client::SentimentServiceClient;
use ko_sentiment::grpc::{Server, ServerError, ServerMeters, ServerOptions};
use ko_sentiment::load::LoadOptions;
use ko_sentiment::sentiment::classify::{Classifier, ModelCard};
use ko_sentiment::sentiment::profile::{DEFAULT_TOML, Profile};
use ko_sentiment::sentiment::prompt::Prompter;
use ko_sentiment::text::vocabulary::ByteVocabulary;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// A classifier without a model: bytes are tokens, logits are hashes.
#[derive(Clone)]
pub struct Fake {
    pub config: EngineConfig,
    /// Time that a step takes.
    pub step: Duration,
    /// Steps that fail.
    pub failing: Vec<u64>,
    /// The first request's step panics.
    pub panics: bool,
    /// Prompt, labels and calibration.
    pub profile: Profile,
    /// Bytes for answers to repeats.
    pub answer_cache: usize,
    /// Tokens that requests had computed so far.
    pub computed: Arc<AtomicUsize>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            config: EngineConfig::default(),
            step: Duration::ZERO,
            failing: Vec::new(),
            panics: false,
            profile: Profile::from_toml(DEFAULT_TOML).unwrap(),
            answer_cache: LoadOptions::default().answer_cache,
            computed: Arc::default(),
        }
    }
}

impl Fake {
    pub fn classifier(self) -> Arc<Classifier> {
        let profile = Arc::new(self.profile.clone());
        let vocabulary = Arc::new(ByteVocabulary);
        let prompter = Prompter::new(vocabulary.clone(), profile.clone()).unwrap();
        let limits = Limits { cells: 65_536, batch: 1024, outputs: 256, sequences: 128 };
        let Self { config, step, failing, panics, answer_cache, computed, .. } = self;
        let make = move |_| {
            let mut backend = FakeBackend::new(limits, ByteVocabulary::SIZE);
            backend.failing_steps = failing.clone();
            let mut pinned = true;
            let computed = computed.clone();
            backend.on_step = Box::new(move |tokens| {
                // The pinned prompt is no request's step.
                if !std::mem::take(&mut pinned) {
                    assert!(!panics, "on purpose");
                    computed.fetch_add(tokens, Ordering::SeqCst);
                    std::thread::sleep(step);
                }
            });
            Ok(backend)
        };
        let engine = Engine::start(config, prompter.static_tokens(), make).unwrap();
        let card = ModelCard { name: "fake".into(), ..ModelCard::default() };
        let classifier = Classifier::new(engine, prompter, profile, vocabulary, card);
        Arc::new(classifier.with_answer_cache(answer_cache))
    }
}

/// A running server.
pub struct TestServer {
    pub address: SocketAddr,
    /// Where it serves the page.
    pub web: Option<SocketAddr>,
    pub classifier: Arc<Classifier>,
    pub meters: Arc<ServerMeters>,
    pub stop: oneshot::Sender<()>,
    pub done: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    pub async fn start(classifier: Arc<Classifier>) -> Self {
        Self::start_with(classifier, ServerOptions::default()).await
    }

    /// With these options, on a free port of the loopback interface beside where they say.
    pub async fn start_with(classifier: Arc<Classifier>, mut options: ServerOptions) -> Self {
        options.listen.retain(|listen| *listen != ServerOptions::default().listen[0]);
        options.listen.push("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(classifier.clone(), options).await.unwrap();
        let address = server.address().unwrap();
        let web = server.web_addresses().first().map(|address| address.parse().unwrap());
        let meters = server.meters();
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(server.run(
            async {
                // A test that ends without a stop drops the sender.
                if stopped.await.is_err() {
                    std::future::pending().await
                }
            },
            std::future::pending(),
        ));
        Self { address, web, classifier, meters, stop, done }
    }

    pub async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.address);
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    pub async fn client(&self) -> SentimentServiceClient<Channel> {
        SentimentServiceClient::new(self.channel().await)
    }
}

/// The repository's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of `src/` and of the kernels' crate.
pub fn source_files() -> Vec<PathBuf> {
    fn below(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
    }
    ["src", "kernels/src"].into_iter().flat_map(|folder| below(&root().join(folder))).collect()
}

/// The embedded default.
pub fn model() -> PathBuf {
    made("models/ko-gemma3-270m-sentiment.gguf")
}

/// The embedded default's base.
pub fn base() -> PathBuf {
    made("models/.cache/gemma-3-270m-q4_k_m.gguf")
}

fn made(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: run `make test`, which makes it", path.display());
    path
}

/// The binary.
pub fn binary() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ko-sentiment"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KO_SENTIMENT_")) {
        command.env_remove(name);
    }
    // Which models were tried is no business of the user's cache folder.
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command
}
