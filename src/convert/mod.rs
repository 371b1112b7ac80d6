//! Conversion: a Hugging Face checkpoint or a GGUF file, with or without a PEFT adapter, to a quantised GGUF
//! file, in one pass and bounded memory.
//!
//! First, [`settings`] judges `config.json`. The way of a tensor: [`input`] finds it. [`mod@plan`] decides its name
//! ([`arch`]), its type ([`quantise`]) and what the adapter ([`merge`]) and smoothing do to it. [`mod@write`] reads it in row chunks, merges, quantises and
//! writes; with a largest size, into several files ([`parts`]). [`tokenizer`] makes the vocabulary's metadata, and [`finish`] checks the result, which has its name only
//! when it is whole and has answered a question.
//!
//! Nothing here knows the engine. Only `quantise/quant.rs` and `finish/verify.rs` call llama.cpp.

pub mod arch;
pub mod error;
pub mod finish;
pub mod input;
pub mod merge;
pub mod parts;
pub mod plan;
pub mod quantise;
pub mod settings;
pub mod tokenizer;
pub mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::arch::ArchError;
pub use self::error::ConvertError;
use self::finish::verify::{self, VerifyError};
use self::input::checkpoint::{self, Checkpoint};
use self::input::error::SourceError;
use self::input::gguf_base::GgufBase;
use self::merge::adapter::Adapter;
use self::parts::MAX_PARTS;
use self::plan::Plan;
use self::plan::model::PROVENANCE;
use self::quantise::mixture::Mixture;
use self::write::{Control, Place, Progress};
use crate::files::output::{self, Output, OutputError};
use crate::files::{hash, split};
use crate::gguf::{Header, TensorInfo, Value};
use crate::sentiment::profile::{self, Profile};
use crate::text::shown::shown;

/// Where the weights come from.
#[derive(Debug)]
pub enum Base {
    /// A folder of safetensors.
    Checkpoint(Checkpoint),
    /// A GGUF file.
    Gguf(GgufBase),
}

impl Base {
    /// Opens a folder or a GGUF file. Of a folder, the configuration is judged before any weight is looked at.
    ///
    /// # Errors
    /// [`ConvertError::Source`], [`ConvertError::Arch`].
    pub fn open(path: &Path) -> Result<Self, ConvertError> {
        if !path.is_dir() {
            return Ok(Self::Gguf(GgufBase::open(path)?));
        }
        let config = judge_folder(path)?;
        Ok(Self::Checkpoint(Checkpoint::open(path, config)?))
    }

    /// The files that hold the weights.
    fn files(&self) -> &[PathBuf] {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.files,
            Self::Gguf(gguf) => &gguf.paths,
        }
    }

    /// The hash of the weights; `None` if `stop` said so.
    fn hash(&self, stop: &dyn Fn() -> bool) -> io::Result<Option<String>> {
        match self {
            Self::Checkpoint(checkpoint) => hash::files(&checkpoint.files, stop),
            Self::Gguf(gguf) => hash::joined(&gguf.paths, stop),
        }
    }
}

/// Refuses a checkpoint's folder by its small files alone, so that a download can be judged before its weights
/// come: quantised weights, another architecture, settings that can't be converted. Returns `config.json`.
///
/// # Errors
/// [`ConvertError::Source`], [`ConvertError::Arch`].
pub fn judge_folder(dir: &Path) -> Result<serde_json::Value, ConvertError> {
    let config = checkpoint::read_config(dir)?;
    // GPTQ's and AWQ's own tools put the method beside a config.json that doesn't name it.
    for (file, method) in [("quantize_config.json", "gptq"), ("quant_config.json", "awq")] {
        if dir.join(file).is_file() && config.get("quantization_config").is_none() {
            return Err(ArchError::Quantised(format!("{method}, by {file}")).into());
        }
    }
    settings::Settings::new(&config)?.metadata()?;
    Ok(config)
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
    /// Largest size of a file, in bytes; the result is split into several files if it is larger.
    pub split_max_size: Option<u64>,
}

/// What came of a conversion.
#[derive(Debug)]
pub struct Summary {
    /// Time from the first byte to the name.
    pub elapsed: Duration,
    /// SHA-256 of the result: of all its files, one after the other.
    pub sha256: String,
    /// Size of the result, of all its files, in bytes.
    pub bytes: u64,
    /// The result's files.
    pub files: Vec<PathBuf>,
}

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
    note_provenance(&mut plan, request);
    plan.notes.extend(request.adapter.and_then(|adapter| other_base(adapter, request.base_name)));
    plan.header.refresh_data_start();
    plan.parts = parts::ranges(&plan.header, request.split_max_size);
    if plan.parts.len() > MAX_PARTS {
        return Err(ConvertError::TooManyParts(plan.parts.len()));
    }
    Ok(plan)
}

/// Writes into the header where the result comes from.
fn note_provenance(plan: &mut Plan, request: &Request) {
    let metadata = &mut plan.header.metadata;
    let mut note = |what: &str, value: Value| metadata.set(format!("{PROVENANCE}.{what}"), value);
    note("tool", concat!("ko-sentiment ", env!("CARGO_PKG_VERSION")).into());
    note("quantisation", request.mixture.file_type.name().into());
    if !request.mixture.overrides.is_empty() {
        let overrides: Vec<String> = request.mixture.overrides.iter().map(ToString::to_string).collect();
        note("tensor_types", overrides.join(" ").into());
    }
    if let Some(width) = plan.padded_from {
        note("padded_from", Value::U32(width));
    }
    if request.mixture.imatrix.is_some() {
        note("imatrix_sha256", UNKNOWN_HASH.into());
    }
    if plan.is_smoothed {
        note("smooth", Value::Bool(true));
    }
    note("base", request.base_name.into());
    note("base_sha256", UNKNOWN_HASH.into());
    if let Some(adapter) = request.adapter {
        note("adapter", request.adapter_name.unwrap_or_default().into());
        note("adapter_sha256", UNKNOWN_HASH.into());
        note("lora_rank", Value::U32(adapter.config.r));
        note("lora_alpha", Value::F32(adapter.config.lora_alpha as f32));
    }
}

/// Says so if the adapter names another base than the one given.
fn other_base(adapter: &Adapter, base_name: &str) -> Option<String> {
    let trained_on = adapter.config.base_model_name_or_path.as_deref()?;
    let name = model_name(trained_on.trim_end_matches('/')).to_lowercase();
    if name.is_empty() || model_name(base_name).to_lowercase().contains(&name) {
        return None;
    }
    let (trained_on, base) = (shown(trained_on), shown(base_name));
    Some(format!("the adapter says that it was trained on {trained_on}; the base is {base}"))
}

/// `model` of `owner/model@commit`.
fn model_name(base_name: &str) -> &str {
    let without_commit = base_name.split('@').next().unwrap_or(base_name);
    without_commit.rsplit('/').next().unwrap_or(without_commit)
}

/// Carries a plan out: writes to a temporary file, checks it, gives it the name `target`; or to several files, whose
/// names are [`split::names`].
///
/// # Errors
/// Any [`ConvertError`]; the temporary files are gone then.
pub fn convert(
    plan: Plan,
    request: &Request,
    target: &Path,
    force: bool,
    control: Control,
) -> Result<Summary, ConvertError> {
    let verify = |paths: &[PathBuf]| verify::ask(paths, request.profile, control.threads);
    convert_with(plan, request, target, force, control, &verify)
}

/// As [`convert`]; `verify` loads the written file and asks it a question.
///
/// # Errors
/// As [`convert`].
pub fn convert_with(
    mut plan: Plan,
    request: &Request,
    target: &Path,
    force: bool,
    control: Control,
    verify: &dyn Fn(&[PathBuf]) -> Result<(), VerifyError>,
) -> Result<Summary, ConvertError> {
    let started = Instant::now();
    let files = split::names(target, plan.parts.len());
    let headers = plan.headers();
    let create = |(file, header): (&PathBuf, &Header)| Output::create(file, header.file_size(), force);
    let outputs = files.iter().zip(&headers).map(create).collect::<Result<Vec<Output>, _>>()?;
    let places = places(&outputs, &headers);
    let cancelled = || control.cancel.load(Ordering::Relaxed);
    let failed = AtomicBool::new(false);
    // The base is hashed beside the conversion, while its pages are in memory.
    let (written, base_hash) = thread::scope(|scope| {
        let stop = || cancelled() || failed.load(Ordering::Relaxed);
        let hashing = scope.spawn(move || request.base.hash(&stop));
        let written = write::write_tensors(&plan, &places, control);
        failed.store(written.is_err(), Ordering::Relaxed);
        (written, hashing.join())
    });
    written?;
    (control.progress)(Progress::Verifying);
    let base_hash = base_hash.map_err(|_| ConvertError::WorkerDied)?;
    note_hashes(&mut plan, request, base_hash, &cancelled)?;
    // With the hashes; as long as before.
    let headers = plan.headers();
    outputs.iter().zip(&headers).try_for_each(|(output, header)| write_header(header, output))?;
    let paths: Vec<PathBuf> = outputs.iter().map(|output| output.path().to_owned()).collect();
    verify::check_headers(&paths, &headers)?;
    // Who stops the conversion ends a child process that verifies, too.
    verify(&paths).map_err(|e| if cancelled() { ConvertError::Cancelled } else { e.into() })?;
    let sha256 = hash::joined(&paths, &cancelled).map_err(|e| outputs[0].io_error(e))?;
    let sha256 = sha256.ok_or(ConvertError::Cancelled)?;
    output::finish_all(outputs, force)?;
    Ok(Summary { elapsed: started.elapsed(), sha256, bytes: plan.file_size(), files })
}

/// Where the data of each tensor goes.
fn places<'a>(outputs: &'a [Output], headers: &[Header]) -> Vec<Place<'a>> {
    let of_file = |(output, header): (&'a Output, &Header)| {
        let place = |t: &TensorInfo| Place { file: output.file(), start: header.data_start + t.offset };
        header.tensors.iter().map(place).collect::<Vec<_>>()
    };
    outputs.iter().zip(headers).flat_map(of_file).collect()
}

/// Puts the hashes of what went in where the planned header has zeros.
fn note_hashes(
    plan: &mut Plan,
    request: &Request,
    base_hash: io::Result<Option<String>>,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), ConvertError> {
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
        note_hash(what, path, hash::file(path, &cancelled))?;
    }
    Ok(())
}

fn write_header(header: &Header, output: &Output) -> Result<(), OutputError> {
    use std::os::unix::fs::FileExt;
    output.file().write_all_at(&header.encode(), 0).map_err(|e| output.io_error(e))
}
