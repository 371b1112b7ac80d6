//! `ko-sentiment token`

use clap::{Args, Subcommand};
use serde_json::json;

use super::run::CliResult;
use crate::grpc::new_token;

/// Make tokens for `serve --tokens`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    New(NewArgs),
}

/// Make a token and its entry for the tokens file.
///
/// For example: ko-sentiment token new team-a
#[derive(Debug, Args)]
struct NewArgs {
    /// Name of the client: letters, digits, dots, dashes, underscores.
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
