//! `ko-sentiment convert-model`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::convert::finish::verify::VerifyError;
use crate::convert::input::hub::{Hub, HubId, HubSettings, Part, Report};
use crate::convert::merge::adapter::{Adapter, read_adapter_config};
use crate::convert::plan::Plan;
use crate::convert::quantise::imatrix::Imatrix;
use crate::convert::quantise::mixture::Mixture;
use crate::convert::quantise::pad;
use crate::convert::quantise::type_override::TypeOverride;
use crate::convert::write::{Control, Progress};
use crate::convert::{self, Base, ConvertError, Request, Summary};
use crate::files::{output, split};
use crate::gguf::tensor_type::FileType;
use crate::load_test::peak_memory;

use super::out::tell;
use super::profile_arg::{self, ProfileArgError, read_profile};
use super::ranges::{THREADS, file_size, whole};
use super::trial;
use crate::text::shown::{shown, shown_path};

/// Convert a Hugging Face model and its LoRA adapter to a quantised GGUF file.
///
/// For example: ko-sentiment convert-model --base owner/name --adapter adapter/ --out model.gguf
///
/// Conversion takes one pass and a few hundred megabytes of memory, without a merged checkpoint or an F16 file in
/// between. The output holds its prompt (the profile) and its origin. It gets its name only after it has been loaded
/// and has answered a question. Without --adapter, --pad and --smooth, its tensors are those of llama.cpp's converter
/// and llama-quantize, byte for byte.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Base model: hub id (owner/name or owner/name@revision), folder with config.json and safetensors, or GGUF file.
    #[arg(long, value_name = "ID|PATH")]
    base: String,
    /// PEFT adapter: hub id, or folder with adapter_config.json and adapter_model.safetensors.
    #[arg(long, value_name = "ID|DIR")]
    adapter: Option<String>,
    /// Of an adapter that also trains the part of Gemma 3 that reads pictures, merge what it trains of the text model.
    #[arg(long, requires = "adapter")]
    text_only: bool,
    /// GGUF file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Split the output into files of at most SIZE, as in 500M or 4G, named as llama.cpp finds them:
    /// NAME-00001-of-00003.gguf. An output that fits into one file is not split.
    #[arg(long, value_name = "SIZE", value_parser = file_size)]
    split_max_size: Option<u64>,
    /// Output type: Q4_K_M, Q4_K_S, Q4_0, Q5_K_M, Q6_K, Q8_0, BF16, F16 or F32.
    #[arg(long, value_name = "TYPE", default_value_t)]
    quant: FileType,
    /// Another type for weights whose GGUF name matches PATTERN (a regular expression), as in ffn_down=q6_k. Repeat the
    /// flag for several; the first match wins, as in llama-quantize.
    #[arg(long, value_name = "PATTERN=TYPE")]
    tensor_type: Vec<TypeOverride>,
    /// Widen Gemma 3 270M or 1B with zeros to a multiple of 256, so that every row can use K-quants: the same
    /// function, faster. Other models stay unchanged.
    #[arg(long)]
    pad: bool,
    /// Importance matrix from llama-imatrix (GGUF): columns that matter more are rounded more closely. The output has
    /// the bytes of llama-quantize --imatrix.
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Move outliers of activations into the weights, by the importance matrix: the same function, with less rounding
    /// loss.
    #[arg(long, requires = "imatrix")]
    smooth: bool,
    /// Prompt that the model was trained with: a TOML file, or the bundled profile's name.
    #[arg(long, value_name = "NAME|FILE", default_value = profile_arg::BUNDLED)]
    profile: PathBuf,
    /// CPU threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = whole::<usize>(THREADS))]
    threads: Option<usize>,
    /// Print the plan and the exact size without writing.
    #[arg(long)]
    dry_run: bool,
    /// Take hub ids from the cache and never contact the hub (as with HF_HUB_OFFLINE=1).
    #[arg(long)]
    offline: bool,
    /// Replace the output file if it exists.
    #[arg(long)]
    force: bool,
}

/// Why `convert-model` failed.
#[derive(Debug, thiserror::Error)]
pub enum ConvertCliError {
    /// The conversion failed.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The profile can't be read.
    #[error(transparent)]
    Profile(#[from] ProfileArgError),
    /// Neither a path nor a hub id.
    #[error("{text}: no such file or folder, and not a hub id like owner/name", text = shown(.0))]
    NotFound(String),
    /// The terminal can't be written, or signals not be caught.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the subcommand.
///
/// # Errors
/// Any [`ConvertCliError`].
pub fn run(args: &ConvertArgs) -> Result<(), ConvertCliError> {
    let mut screen = io::stdout().lock();
    let profile = read_profile(&args.profile)?;
    let (base_path, base_name) = locate(&args.base, Part::Model, args.offline)?;
    // What can be refused of the base is refused before the adapter is downloaded.
    let base = Base::open(&base_path)?;
    let adapter_part = |adapter| locate(adapter, Part::Adapter, args.offline);
    let located = args.adapter.as_deref().map(adapter_part).transpose()?;
    let adapter = located
        .as_ref()
        .map(|(path, _)| Adapter::open(path, args.text_only))
        .transpose()
        .map_err(ConvertError::from)?;
    let imatrix = args.imatrix.as_deref().map(Imatrix::open).transpose().map_err(ConvertError::from)?;
    let request = Request {
        base: &base,
        base_name: &base_name,
        adapter: adapter.as_ref(),
        adapter_name: located.as_ref().map(|(_, name)| name.as_str()),
        profile: &profile,
        mixture: Mixture {
            file_type: args.quant,
            overrides: &args.tensor_type,
            pad: args.pad,
            imatrix: imatrix.as_ref(),
            smooth: args.smooth,
        },
        split_max_size: args.split_max_size,
    };
    let plan = convert::plan(&request)?;
    write_plan(&mut screen, args, &plan)?;
    if args.dry_run {
        write!(screen, "\n{}", type_table(&plan))?;
    }
    let size = plan.file_size();
    for file in split::names(&args.out, plan.parts.len()) {
        output::check_target(&file, size, args.force).map_err(ConvertError::from)?;
    }
    if args.dry_run {
        return Ok(());
    }
    carry_out(&mut screen, args, plan, &request)
}

/// Converts, with a progress bar, until a signal stops it.
fn carry_out(
    screen: &mut impl Write,
    args: &ConvertArgs,
    plan: Plan,
    request: &Request,
) -> Result<(), ConvertCliError> {
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&cancel))?;
    }
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or_else(cores);
    let data_bytes = plan.tensors.iter().map(|t| t.info.bytes()).sum();
    let meter = Meter::new(data_bytes);
    let types = type_table(&plan);
    let merged = request.adapter.is_some().then(|| (plan.merged().count(), plan.replaced().count()));
    let control = Control { threads, cancel: &cancel, progress: &|progress| meter.show(progress) };
    // In a child process, so that an abort of llama.cpp is a message.
    let verify = |paths: &[PathBuf]| trial::ask(paths, threads).map_err(VerifyError::from);
    let summary = convert::convert_with(plan, request, &args.out, args.force, control, &verify);
    meter.clear();
    write_summary(screen, &types, merged, &summary?)?;
    Ok(())
}

/// A path, or the cached download of a hub id; and what the model is called.
fn locate(base_or_adapter: &str, part: Part, offline: bool) -> Result<(PathBuf, String), ConvertCliError> {
    let path = PathBuf::from(base_or_adapter);
    if path.exists() {
        let whole = fs::canonicalize(&path)?;
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok((path, name));
    }
    let Some(id) = HubId::parse(base_or_adapter) else {
        return Err(ConvertCliError::NotFound(base_or_adapter.to_owned()));
    };
    let mut settings = HubSettings::from_env(|name| std::env::var(name).ok());
    settings.offline |= offline;
    let meter = DownloadMeter::new();
    let hub = Hub::new(settings).map_err(ConvertError::from)?;
    let on_report = |report: Report| meter.show(report);
    let download = hub.open(&id, part, &on_report).map_err(ConvertError::from)?;
    let folder = download.folder();
    // What the small files can tell is told before the weights come.
    match part {
        Part::Model => drop(convert::judge_folder(&folder)?),
        Part::Adapter => drop(read_adapter_config(&folder).map_err(ConvertError::from)?),
    }
    download.weights().map_err(ConvertError::from)?;
    meter.clear();
    // The folder of a download is named after its commit.
    let commit = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("{}@{commit}", id.repository());
    Ok((folder, name))
}

fn write_plan(screen: &mut impl Write, args: &ConvertArgs, plan: &Plan) -> io::Result<()> {
    writeln!(screen, "base      {} ({})", args.base, plan.architecture)?;
    if let Some(adapter) = &args.adapter {
        writeln!(screen, "adapter   {adapter} (changes {} tensors)", plan.changed())?;
    }
    let n_tensors = plan.tensors.len();
    let files = named(&split::names(&args.out, plan.parts.len()));
    writeln!(screen, "result    {files} ({}, {n_tensors} tensors)", plan.file_type)?;
    for over in &args.tensor_type {
        writeln!(screen, "type      {over}")?;
    }
    if let Some(imatrix) = &args.imatrix {
        let weighed = plan.tensors.iter().filter(|t| t.importance.is_some()).count();
        writeln!(screen, "imatrix   {} (weighs {weighed} tensors)", shown_path(imatrix))?;
    }
    if args.smooth {
        let scaled = plan.tensors.iter().filter(|t| t.smoothing.is_some()).count();
        writeln!(screen, "smooth    scales in {scaled} tensors")?;
    }
    if let Some(width) = plan.padded_from {
        let padded = pad::padded_width(width.into());
        writeln!(screen, "width     {width}, padded to {padded}")?;
    }
    writeln!(screen, "size      {} bytes", plan.file_size())?;
    for note in &plan.notes {
        writeln!(screen, "note      {note}")?;
    }
    if let Some(note) = requantisation_note(plan) {
        writeln!(screen, "note      the base is quantised already: {note}")?;
    }
    Ok(())
}

/// A result's files: the one, or the first and how many more.
fn named(files: &[PathBuf]) -> String {
    let first = files.first().map(|file| shown_path(file).to_string()).unwrap_or_default();
    if files.len() > 1 { format!("{first} and {} more", files.len() - 1) } else { first }
}

/// What becomes of a quantised base's blocks.
fn requantisation_note(plan: &Plan) -> Option<String> {
    let tensors = |n: usize| if n == 1 { "1 tensor".to_owned() } else { format!("{n} tensors") };
    let again = plan.tensors.iter().filter(|t| t.is_requantised()).count();
    let kept = plan.tensors.iter().filter(|t| t.is_copy()).count();
    match again {
        _ if !plan.base_is_quantised => None,
        0 if kept == plan.tensors.len() => Some("every tensor is copied as it is".to_owned()),
        0 => Some("larger types do not bring back what it lost".to_owned()),
        _ => Some(format!(
            "{} rounded a second time, which loses a\n          \
             little, {kept} copied as they are. Convert from safetensors where you can.",
            tensors(again)
        )),
    }
}

/// Lines of the table: tensors and bytes of each type.
fn type_table(plan: &Plan) -> String {
    let types = plan.by_type();
    let line = |(tensor_type, (count, bytes)): (&_, &(u64, u64))| {
        format!("{tensor_type:<6} {count:>8} {bytes:>14}\n")
    };
    let (count, bytes) = types.values().fold((0, 0), |(c, b), (count, bytes)| (c + count, b + bytes));
    let lines: String = types.iter().map(line).collect();
    format!("type    tensors          bytes\n{lines}total  {count:>8} {bytes:>14}\n")
}

fn write_summary(
    screen: &mut impl Write,
    types: &str,
    merged: Option<(usize, usize)>,
    summary: &Summary,
) -> io::Result<()> {
    let seconds = summary.elapsed.as_secs_f64();
    writeln!(screen, "\n{types}")?;
    writeln!(screen, "file      {} ({} bytes)", named(&summary.files), summary.bytes)?;
    let of_all = if summary.files.len() > 1 { " (of all files, one after the other)" } else { "" };
    writeln!(screen, "sha256    {}{of_all}", summary.sha256)?;
    if let Some((merged, replaced)) = merged {
        let saved = if replaced > 0 { format!(", {replaced} replaced") } else { String::new() };
        writeln!(screen, "LoRA      {merged} tensors merged{saved}")?;
    }
    writeln!(screen, "time      {seconds:.1} s ({:.0} MB/s)", summary.bytes as f64 / 1e6 / seconds)?;
    if let Some(peak) = peak_memory() {
        writeln!(
            screen,
            "memory    {:.0} MiB at most, with the pages of files read",
            peak as f64 / 1048576.0
        )?;
    }
    writeln!(screen, "checked   read again, loaded, and one prompt answered")
}

/// A progress bar for the file at hand on a terminal, a line for each file elsewhere.
struct DownloadMeter {
    bar: Option<ProgressBar>,
    file: Mutex<String>,
}

impl DownloadMeter {
    fn new() -> Self {
        Self { bar: io::stderr().is_terminal().then(|| progress_bar(0)), file: Mutex::default() }
    }

    fn show(&self, report: Report) {
        let (file, size, done) = match report {
            Report::Bytes { file, size, done } => (file, size, done),
            Report::Note(note) => return self.note(note),
        };
        if let Some(bar) = &self.bar {
            bar.set_length(size);
            bar.set_position(done);
            bar.set_message(file.to_owned());
            return;
        }
        let Ok(mut last) = self.file.lock() else { return };
        if *last != file {
            *last = file.to_owned();
            tell(format_args!("downloading {file} ({size} bytes)"));
        }
    }

    fn note(&self, note: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell(format_args!("{note}"))),
            None => tell(format_args!("{note}")),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn progress_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {bytes:>11} of {total_bytes}  {binary_bytes_per_sec:>12}  {eta:>4} left  {msg}",
    );
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A progress bar on a terminal, a line now and then elsewhere.
struct Meter {
    bar: Option<ProgressBar>,
    total: u64,
    started: Instant,
    last_line: Mutex<Instant>,
}

impl Meter {
    const LINE_EVERY: Duration = Duration::from_secs(10);

    fn new(total: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| progress_bar(total));
        let started = Instant::now();
        Self { bar, total, started, last_line: Mutex::new(started) }
    }

    fn show(&self, progress: Progress) {
        match (&self.bar, progress) {
            (Some(bar), Progress::Written { bytes, tensor }) => {
                bar.set_position(bytes);
                bar.set_message(tensor.to_owned());
            }
            (Some(bar), Progress::Verifying) => bar.set_message("checking the result"),
            (None, Progress::Written { bytes, tensor }) => self.line(bytes, tensor),
            (None, Progress::Verifying) => tell(format_args!("checking the result")),
        }
    }

    fn line(&self, bytes: u64, tensor: &str) {
        let Ok(mut last) = self.last_line.try_lock() else { return };
        if last.elapsed() < Self::LINE_EVERY {
            return;
        }
        *last = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = bytes as f64 / seconds;
        let left = (self.total - bytes) as f64 / rate;
        let percent = bytes as f64 / self.total as f64 * 100.0;
        tell(format_args!("{percent:3.0} %  {:.0} MB/s  {left:.0} s left  {tensor}", rate / 1e6));
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
