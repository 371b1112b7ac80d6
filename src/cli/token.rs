//! `ko-sentiment token`

use clap::{Args, Subcommand};
use serde_json::json;

use super::run::CliResult;
use crate::grpc::new_token;

/// Tokens for `serve --tokens`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token, and the entry for the tokens file.
    New(NewArgs),
}

/// For example: ko-sentiment token new team-a
#[derive(Debug, Args)]
struct NewArgs {
    /// Who is to use it: letters, digits, dots, dashes, underscores.
    #[arg(value_name = "NAME")]
    name: String,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &TokenArgs) -> CliResult {
    let TokenCommand::New(args) = &args.command;
    let made = new_token(&args.name)?;
    if args.json {
        let value = json!({ "name": args.name, "token": made.token, "entry": made.entry });
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        println!("For the client (it is kept nowhere else):\n\n{}\n", made.token);
        print!("For the tokens file:\n\n{}", made.entry);
    }
    Ok(())
}
