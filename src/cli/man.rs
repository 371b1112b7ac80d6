//! `ko-sentiment man`

use std::path::PathBuf;

use clap::{Args, Command};

use super::run::CliResult;
use crate::text::shown::shown_path;

/// Write the man pages.
///
/// For example: ko-sentiment man --dir /usr/local/share/man/man1
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Existing folder for the pages, one per subcommand; existing pages are replaced.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub fn run(args: &ManArgs, command: Command) -> CliResult {
    clap_mangen::generate_to(command, &args.dir)
        .map_err(|e| format!("cannot write man pages into {}: {e}", shown_path(&args.dir)))?;
    Ok(())
}
