//! Who answers: a model in this process, or a server. What a flag says counts for more than a variable.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::client_args::ClientArgs;
use super::model_args::ModelArgs;
use super::ranges;

/// Who answers; exactly one of `model` and `endpoint`.
#[derive(Debug, Clone)]
pub struct AnswererArgs {
    /// This model, in this process.
    pub model: Option<PathBuf>,
    /// The server at this address.
    pub endpoint: Option<String>,
    /// How the server is asked.
    pub client: ClientArgs,
    /// How the model is run.
    pub options: ModelArgs,
}

/// The same as flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model or server")]
struct Flags {
    /// GGUF file to run in this process.
    #[arg(long, short = 'm', value_name = "FILE", env = "KO_SENTIMENT_MODEL")]
    model: Option<PathBuf>,

    /// Server to ask instead: HOST:PORT, https://HOST:PORT or unix:/PATH.
    #[arg(long, value_name = "HOST:PORT", value_parser = ranges::endpoint, env = "KO_SENTIMENT_ENDPOINT")]
    endpoint: Option<String>,

    #[command(flatten)]
    client: ClientArgs,

    #[command(flatten)]
    options: ModelArgs,
}

impl FromArgMatches for AnswererArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let (model_flag, endpoint_flag) = (flag("model"), flag("endpoint"));
        let Flags { mut model, mut endpoint, client, options } = Flags::from_arg_matches_mut(matches)?;
        let usage = |kind, text| clap::Error::raw(kind, text);
        match (model.is_some(), endpoint.is_some()) {
            (false, false) => {
                let text = "name a model with --model FILE, or a server with --endpoint HOST:PORT\n";
                return Err(usage(ErrorKind::MissingRequiredArgument, text));
            }
            (true, true) if model_flag == endpoint_flag => {
                let text = if model_flag {
                    "--model and --endpoint cannot be used together; leave one out\n"
                } else {
                    "KO_SENTIMENT_MODEL and KO_SENTIMENT_ENDPOINT are both set; choose with --model or --endpoint\n"
                };
                return Err(usage(ErrorKind::ArgumentConflict, text));
            }
            (true, true) if model_flag => endpoint = None,
            (true, true) => model = None,
            _ => {}
        }
        Ok(Self { model, endpoint, client, options })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for AnswererArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}
