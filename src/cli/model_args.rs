//! Flags that say how a model is run. Their defaults are the library's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::engine::EngineConfig;
use crate::llama::{Kernels, KvType};
use crate::load::LoadOptions;

use super::profile_arg::{ProfileArgError, read_profile};
use super::ranges::{THREADS, switch, whole};
use super::trial::{self, TrialError};

/// How a model is run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model options")]
pub struct ModelArgs {
    /// Prompt and labels instead of the model's own: a TOML file, or `default` for the bundled profile.
    #[arg(long, value_name = "NAME|FILE", env = "KO_SENTIMENT_PROFILE")]
    profile: Option<PathBuf>,

    /// Layers to offload to the GPU [default: all, if this build and machine have one].
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=1_000_000), env = "KO_SENTIMENT_N_GPU_LAYERS")]
    n_gpu_layers: Option<u32>,

    /// CPU threads [default: one per core].
    #[arg(long, short = 't', value_name = "N", value_parser = whole::<usize>(THREADS), env = "KO_SENTIMENT_THREADS")]
    threads: Option<usize>,

    /// Size of the KV cache in tokens, shared by all requests and videos.
    #[arg(long, short = 'c', value_name = "N", default_value_t = LoadOptions::default().context, value_parser = whole::<usize>(64..=1 << 24), env = "KO_SENTIMENT_CTX_SIZE")]
    ctx_size: usize,

    /// Maximum tokens computed per step.
    #[arg(long, short = 'b', value_name = "N", default_value_t = LoadOptions::default().batch, value_parser = whole::<usize>(1..=1 << 16), env = "KO_SENTIMENT_BATCH_SIZE")]
    batch_size: usize,

    /// Data type of the KV cache.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t, env = "KO_SENTIMENT_CACHE_TYPE")]
    cache_type: KvType,

    /// CPU kernels: ours where they fit the CPU and the model's types, or llama.cpp's alone (the default on ARM).
    #[arg(long, value_name = "WHOSE", value_enum, default_value_t, env = "KO_SENTIMENT_KERNELS")]
    kernels: Kernels,

    /// Maximum requests computed at once.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().parallel, value_parser = whole::<usize>(1..=256), env = "KO_SENTIMENT_PARALLEL")]
    parallel: usize,

    /// Maximum videos whose title and summary stay in the KV cache.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().videos, value_parser = whole::<usize>(0..=256), env = "KO_SENTIMENT_MAX_VIDEOS")]
    max_videos: usize,

    /// Memory for the answers to exact duplicates, in MiB; 0 computes every request.
    #[arg(long, value_name = "MIB", default_value_t = LoadOptions::default().answer_cache >> 20, value_parser = whole::<usize>(0..=1 << 20), env = "KO_SENTIMENT_ANSWER_CACHE_MIB")]
    answer_cache_mib: usize,

    /// Maximum tokens of a request, prompt and answer together; never above the model's own context.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().max_request_tokens, value_parser = whole::<usize>(1..=1 << 24), env = "KO_SENTIMENT_MAX_REQUEST_TOKENS")]
    max_request_tokens: usize,

    /// Maximum requests running and waiting; more get RESOURCE_EXHAUSTED.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().max_jobs, value_parser = whole::<usize>(1..=1_000_000), env = "KO_SENTIMENT_MAX_REQUESTS")]
    max_requests: usize,

    /// Maximum tokens of the running and waiting requests together.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().max_queued_tokens, value_parser = whole::<usize>(1..=1 << 40), env = "KO_SENTIMENT_MAX_QUEUED_TOKENS")]
    max_queued_tokens: usize,

    /// Target step time while reasons are being generated, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = default_step_ms(), value_parser = whole::<u64>(1..=60_000), env = "KO_SENTIMENT_STEP_TARGET_MS")]
    step_target_ms: u64,

    /// Maximum tokens of reasons guessed ahead per text and step, from phrases seen before; 0 turns drafts off, also of tokens
    /// that are bound to follow.
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().longest_draft, value_parser = whole::<usize>(0..=64), env = "KO_SENTIMENT_DRAFT_MAX")]
    draft_max: usize,

    /// Load a new model file without trying it in a child process first.
    #[arg(long, value_parser = switch, env = "KO_SENTIMENT_TRUST_MODEL")]
    trust_model: bool,
}

fn default_step_ms() -> u64 {
    u64::try_from(EngineConfig::default().step_target.as_millis()).unwrap_or(u64::MAX)
}

impl ModelArgs {
    /// Has a child process try a model file that was not loaded here before.
    pub fn try_first(&self, model: &Path) -> Result<(), TrialError> {
        if self.trust_model { Ok(()) } else { trial::before_load(model) }
    }

    /// Tokens in a step.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Whose kernels compute.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The profile that takes the place of the model's own, by `--profile` or its variable.
    pub fn other_profile(&self) -> Option<&Path> {
        self.profile.as_deref()
    }

    /// The options that these flags stand for.
    pub fn options(&self) -> Result<LoadOptions, ProfileArgError> {
        Ok(LoadOptions {
            profile: self.profile.as_deref().map(read_profile).transpose()?,
            gpu_layers: self.n_gpu_layers,
            context: self.ctx_size,
            batch: self.batch_size,
            threads: self.threads,
            kv_type: self.cache_type,
            kernels: self.kernels,
            answer_cache: self.answer_cache_mib.saturating_mul(1 << 20),
            engine: EngineConfig {
                parallel: self.parallel,
                videos: self.max_videos,
                step_target: Duration::from_millis(self.step_target_ms),
                max_jobs: self.max_requests,
                max_queued_tokens: self.max_queued_tokens,
                max_request_tokens: self.max_request_tokens,
                longest_draft: self.draft_max,
                ..EngineConfig::default()
            },
        })
    }
}
