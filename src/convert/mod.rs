//! Conversion: a Hugging Face checkpoint or a GGUF file, with or without a PEFT adapter, to a quantised GGUF
//! file, in one pass and bounded memory.
//!
//! The way of a tensor: [`input`] finds it. [`mod@plan`] decides its name ([`arch`]), its type ([`quantise`]) and
//! what the adapter ([`merge`]) and smoothing do to it. [`mod@write`] reads it in row chunks, merges, quantises and
//! writes. [`tokenizer`] makes the vocabulary's metadata, and [`finish`] checks the result, which has its name only
//! when it is whole and has answered a question.
//!
//! Nothing here knows the engine. Only `quantise/quant.rs` and `finish/verify.rs` call llama.cpp.

pub mod arch;
pub mod error;
pub mod finish;
pub mod input;
pub mod merge;
pub mod plan;
pub mod quantise;
pub mod tokenizer;
pub mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use self::error::ConvertError;
use self::input::checkpoint::Checkpoint;
use self::input::error::SourceError;
use self::input::gguf_base::GgufBase;
use self::merge::adapter::Adapter;
use self::plan::Plan;
use self::quantise::mixture::Mixture;
use self::write::{Control, Progress};
use crate::files::output::{Output, OutputError};
use crate::gguf::Value;
use crate::sentiment::profile::{self, Profile};

/// Where the weights come from.
#[derive(Debug)]
pub enum Base {
    /// A folder of safetensors.
    Checkpoint(Checkpoint),
    /// A GGUF file.
    Gguf(GgufBase),
}

impl Base {
    /// Opens a folder or a GGUF file.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        if path.is_dir() {
            Checkpoint::open(path).map(Self::Checkpoint)
        } else {
            GgufBase::open(path).map(Self::Gguf)
        }
    }

    /// The files that hold the weights.
    fn files(&self) -> &[PathBuf] {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.files,
            Self::Gguf(gguf) => std::slice::from_ref(&gguf.path),
        }
    }
}

/// What to convert, to what.
#[derive(Debug)]
pub struct Request<'a> {
    /// The base.
    pub base: &'a Base,
    /// What the base is called in the provenance, as in `rtzr/ko-gemma-2-9b-it@COMMIT`.
    pub base_name: &'a str,
    /// The adapter.
    pub adapter: Option<&'a Adapter>,
    /// What the adapter is called in the provenance.
    pub adapter_name: Option<&'a str>,
    /// The profile to put in.
    pub profile: &'a Profile,
    /// The types of the result's tensors.
    pub mixture: Mixture<'a>,
}

/// What came of a conversion.
#[derive(Debug)]
pub struct Summary {
    /// Time from the first byte to the name.
    pub elapsed: Duration,
    /// SHA-256 of the result.
    pub sha256: String,
    /// Size of the result, in bytes.
    pub bytes: u64,
}

const PROVENANCE: &str = "ko_sentiment.provenance";
/// Stands for the base's hash in the planned header until it is known; as long as one.
const UNKNOWN_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Plans a conversion: reads headers and the vocabulary, writes nothing.
///
/// # Errors
/// Whatever can be found wrong before the weights are read.
pub fn plan(request: &Request) -> Result<Plan, ConvertError> {
    let mut plan = match request.base {
        Base::Checkpoint(checkpoint) => plan::plan_checkpoint(checkpoint, request.adapter, request.mixture)?,
        Base::Gguf(gguf) => plan::plan_gguf(gguf, request.adapter, request.mixture)?,
    };
    let metadata = &mut plan.header.metadata;
    if metadata.get("general.name").is_none() {
        metadata.set("general.name", model_name(request.base_name));
    }
    metadata.set(profile::METADATA_KEY, request.profile.to_toml()?);
    metadata.set(format!("{PROVENANCE}.tool"), concat!("ko-sentiment ", env!("CARGO_PKG_VERSION")));
    metadata.set(format!("{PROVENANCE}.quantisation"), request.mixture.file_type.name());
    if !request.mixture.overrides.is_empty() {
        let overrides: Vec<String> = request.mixture.overrides.iter().map(ToString::to_string).collect();
        metadata.set(format!("{PROVENANCE}.tensor_types"), overrides.join(" "));
    }
    if let Some(width) = plan.padded_from {
        metadata.set(format!("{PROVENANCE}.padded_from"), Value::U32(width));
    }
    if request.mixture.imatrix.is_some() {
        metadata.set(format!("{PROVENANCE}.imatrix_sha256"), UNKNOWN_HASH);
    }
    if request.mixture.smooth {
        metadata.set(format!("{PROVENANCE}.smooth"), Value::Bool(true));
    }
    metadata.set(format!("{PROVENANCE}.base"), request.base_name);
    metadata.set(format!("{PROVENANCE}.base_sha256"), UNKNOWN_HASH);
    if let Some(adapter) = request.adapter {
        metadata.set(format!("{PROVENANCE}.adapter"), request.adapter_name.unwrap_or_default());
        metadata.set(format!("{PROVENANCE}.adapter_sha256"), UNKNOWN_HASH);
        metadata.set(format!("{PROVENANCE}.lora_rank"), Value::U32(adapter.config.r));
        metadata.set(format!("{PROVENANCE}.lora_alpha"), Value::F32(adapter.config.lora_alpha as f32));
    }
    plan.header.refresh_data_start();
    Ok(plan)
}

/// `model` of `owner/model@commit`.
fn model_name(base_name: &str) -> &str {
    let without_commit = base_name.split('@').next().unwrap_or(base_name);
    without_commit.rsplit('/').next().unwrap_or(without_commit)
}

/// Carries a plan out: writes to a temporary file, checks it, gives it the name `target`.
///
/// # Errors
/// Any [`ConvertError`]; the temporary file is gone then.
pub fn convert(
    mut plan: Plan,
    request: &Request,
    target: &Path,
    force: bool,
    control: Control,
) -> Result<Summary, ConvertError> {
    let started = Instant::now();
    let output = Output::create(target, plan.file_size(), force)?;
    let cancelled = || control.cancel.load(Ordering::Relaxed);
    let failed = AtomicBool::new(false);
    // The base is hashed beside the conversion, while its pages are in memory.
    let (written, base_hash) = thread::scope(|scope| {
        let stop = || cancelled() || failed.load(Ordering::Relaxed);
        let hashing = scope.spawn(move || crate::files::hash::files(request.base.files(), &stop));
        let written = write::write_tensors(&plan, output.file(), control);
        failed.store(written.is_err(), Ordering::Relaxed);
        (written, hashing.join())
    });
    written?;
    (control.progress)(Progress::Verifying);
    let base_hash = base_hash.map_err(|_| ConvertError::WorkerDied)?;
    let mut note_hash = |what: &str, path: &Path, hash: io::Result<Option<String>>| {
        let hash = hash.map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
        let hash = hash.ok_or(ConvertError::Cancelled)?;
        plan.header.metadata.set(format!("{PROVENANCE}.{what}_sha256"), hash);
        Ok::<(), ConvertError>(())
    };
    note_hash("base", &request.base.files()[0], base_hash)?;
    let adapter = request.adapter.map(|a| ("adapter", &a.weights_path));
    let imatrix = request.mixture.imatrix.map(|i| ("imatrix", &i.path));
    for (what, path) in adapter.into_iter().chain(imatrix) {
        note_hash(what, path, crate::files::hash::file(path, &cancelled))?;
    }
    write_header(&plan, &output)?;
    self::finish::verify::check_header(output.path(), &plan.header)?;
    self::finish::verify::ask(output.path(), request.profile, control.threads)?;
    let sha256 = crate::files::hash::file(output.path(), &cancelled).map_err(|e| output.io_error(e))?;
    let sha256 = sha256.ok_or(ConvertError::Cancelled)?;
    output.finish(force)?;
    Ok(Summary { elapsed: started.elapsed(), sha256, bytes: plan.file_size() })
}

fn write_header(plan: &Plan, output: &Output) -> Result<(), OutputError> {
    use std::os::unix::fs::FileExt;
    output.file().write_all_at(&plan.header.encode(), 0).map_err(|e| output.io_error(e))
}
