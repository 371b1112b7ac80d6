//! A model file to a running [`Classifier`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::{Engine, EngineConfig, Purpose, StartError};
use crate::files::hash;
use crate::llama::{ContextOptions, Kernels, KvType, LlamaContext, Model, ModelError};
use crate::sentiment::classify::{Classifier, ModelCard};
use crate::sentiment::profile::{METADATA_KEY, Profile, ProfileError};
use crate::sentiment::prompt::{PromptError, Prompter};
use crate::text::shown::shown_path;

/// Rows of logits in a step beyond one for each running request. A row costs 2 MiB with Gemma's
/// vocabulary (llama.cpp computes and then copies it), and a scored comment needs four: with the default of
/// 16 requests a step holds eight comments, which mostly fill it.
const SPARE_OUTPUTS: usize = 16;

/// How a model is run. Each default stands here alone.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// A profile that takes the place of the model's own.
    pub profile: Option<Profile>,
    /// Layers to offload; `None` for all, where a GPU is.
    pub gpu_layers: Option<u32>,
    /// Cells of the KV cache.
    pub context: usize,
    /// Tokens in a step.
    pub batch: usize,
    /// CPU threads; `None` for one a core.
    pub threads: Option<usize>,
    /// Entries of the KV cache.
    pub kv_type: KvType,
    /// Whose kernels compute on the CPU.
    pub kernels: Kernels,
    /// Bytes of memory for answers to exact repeats; 0 for none.
    pub answer_cache: usize,
    /// The engine's own settings.
    pub engine: EngineConfig,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            profile: None,
            gpu_layers: None,
            context: 16_384,
            batch: 512,
            threads: None,
            kv_type: KvType::default(),
            kernels: Kernels::default(),
            answer_cache: 64 << 20,
            engine: EngineConfig::default(),
        }
    }
}

impl LoadOptions {
    /// The options that change an answer, by the names of their flags. The others change speed, or who
    /// shares a step.
    pub fn that_change_answers(&self) -> BTreeMap<String, String> {
        let layers = self.gpu_layers.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let options = [
            ("batch-size", self.batch.to_string()),
            ("kernels", self.kernels.to_string()),
            ("cache-type", format!("{:?}", self.kv_type).to_lowercase()),
            ("max-request-tokens", self.engine.max_request_tokens.to_string()),
            ("n-gpu-layers", layers),
        ];
        options.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// Why a model cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file holds no profile, and none was given.
    #[error(
        "{} holds no profile (prompt and labels); name one with --profile, or convert the model with `ko-sentiment convert-model`",
        shown_path(.0)
    )]
    NoProfile(PathBuf),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Profile and vocabulary do not fit.
    #[error("the profile does not fit the model: {0}")]
    Prompt(#[from] PromptError),
    /// The engine.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Loads a model, checks that its profile fits, and starts its engine.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path, options: LoadOptions) -> Result<Classifier, LoadError> {
    let running = options.that_change_answers();
    let hash = {
        let path = path.to_owned();
        std::thread::spawn(move || hash::model(&path))
    };
    let model = Arc::new(Model::load_for(path, options.gpu_layers, options.kernels)?);
    let profile = Arc::new(options.profile.map_or_else(|| profile_of(&model, path), Ok)?);
    let prompter = Prompter::new(model.clone(), profile.clone())?;
    let mut engine = options.engine;
    engine.max_request_tokens = engine.max_request_tokens.min(model.trained_context());
    engine.check_cells(options.context)?;
    // llama.cpp takes no longer steps than its cache holds.
    let batch = options.batch.min(options.context);
    let contexts = Contexts {
        shared: ContextOptions {
            cells: options.context,
            batch,
            ubatch: batch,
            // The pinned prompt, the videos, and one per label for each running request.
            sequences: 1 + engine.videos + prompter.labels().len() * engine.parallel,
            outputs: (engine.parallel + SPARE_OUTPUTS).min(batch),
            threads: options.threads.unwrap_or_else(cores),
            kv_type: options.kv_type,
            own_attention: options.kernels == Kernels::Ours,
            own_products: options.kernels == Kernels::Ours,
        },
        reproducible_cells: engine.max_request_tokens,
        labels: prompter.labels().len(),
    };
    let for_engine = model.clone();
    let make = move |purpose| LlamaContext::new(for_engine.clone(), contexts.options(purpose));
    let engine = Engine::start(engine, prompter.static_tokens(), make)?;
    let sha256 = match hash.join() {
        Ok(Ok(hash)) => hash,
        Ok(Err(source)) => return Err(ModelError::Read { path: path.to_owned(), source }.into()),
        Err(_) => String::new(),
    };
    let card = card(&model, sha256, running);
    Ok(Classifier::new(engine, prompter, profile, model, card).with_answer_cache(options.answer_cache))
}

/// The profile in a model's metadata.
fn profile_of(model: &Model, path: &Path) -> Result<Profile, LoadError> {
    let text = model.metadata(METADATA_KEY).ok_or_else(|| LoadError::NoProfile(path.to_owned()))?;
    Ok(Profile::from_toml(&text)?)
}

/// The contexts of one engine.
#[derive(Clone, Copy)]
struct Contexts {
    shared: ContextOptions,
    /// Cells of the context for reproducible requests, which runs one at a time.
    reproducible_cells: usize,
    labels: usize,
}

impl Contexts {
    fn options(&self, purpose: Purpose) -> ContextOptions {
        match purpose {
            Purpose::Shared => self.shared,
            Purpose::Reproducible => ContextOptions {
                cells: self.reproducible_cells,
                sequences: 1 + self.labels,
                outputs: 1 + SPARE_OUTPUTS,
                ..self.shared
            },
        }
    }
}

/// What is known of a model and of the options that it runs with.
fn card(model: &Model, sha256: String, options: BTreeMap<String, String>) -> ModelCard {
    ModelCard {
        name: model.metadata("general.name").unwrap_or_default(),
        sha256,
        quantization: model.quantization(),
        architecture: model.metadata("general.architecture").unwrap_or_default(),
        parameters: model.parameters(),
        size: model.size(),
        vocabulary: model.vocabulary_size(),
        options,
    }
}

/// Threads that compute without waiting for each other.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
