//! `ko-sentiment try-model`: the child process of [`super::trial`].

use std::path::PathBuf;

use clap::Args;

use super::run::CliResult;
use crate::convert::finish::verify;
use crate::gguf::{self, Header, check};
use crate::llama::crash;
use crate::sentiment::profile::{METADATA_KEY, Profile};

/// Load a model file and compute one step.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// The model's files, in order.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Fail unless the file answers its profile's prompt.
    #[arg(long)]
    ask: bool,

    /// CPU threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Seconds after which the process ends itself.
    #[arg(long, value_name = "S")]
    seconds: u32,
}

pub fn run(args: &TryArgs) -> CliResult {
    crash::end_after(args.seconds);
    let Some(first) = args.files.first() else { return Ok(()) };
    if args.ask {
        let header = Header::read(first)?;
        let profile = header.metadata.get(METADATA_KEY).and_then(gguf::Value::as_str).unwrap_or_default();
        return Ok(verify::ask(&args.files, &Profile::from_toml(profile)?, args.threads)?);
    }
    // What is refused here is refused by who loads the file next, with the right message.
    if check::file(first).is_ok() {
        let _refused = verify::step(&args.files, args.threads);
    }
    Ok(())
}
