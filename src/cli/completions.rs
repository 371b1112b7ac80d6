//! `ko-sentiment completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CliResult};

/// For example: ko-sentiment completions bash > /etc/bash_completion.d/ko-sentiment
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> CliResult {
    clap_complete::generate(args.shell, &mut Cli::command(), "ko-sentiment", &mut std::io::stdout());
    Ok(())
}
