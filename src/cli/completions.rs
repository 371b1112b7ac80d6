//! `ko-sentiment completions`

use clap::{Args, Command};
use clap_complete::Shell;

use super::run::CliResult;

/// Print the completion script of a shell.
///
/// For example: ko-sentiment completions bash > /etc/bash_completion.d/ko-sentiment
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell that will load the script.
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, command: &mut Command) -> CliResult {
    clap_complete::generate(args.shell, command, "ko-sentiment", &mut std::io::stdout());
    Ok(())
}
