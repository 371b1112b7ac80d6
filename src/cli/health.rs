//! `ko-sentiment health`

use clap::Args;

use super::client_args::ClientArgs;
use super::ranges::endpoint;
use super::run::{CliResult, block_on};
use crate::grpc::Client;

/// Check that a server is serving (exit code 0), for probes.
///
/// For example: ko-sentiment health --endpoint 127.0.0.1:50051
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Server to ask: HOST:PORT, https://HOST:PORT or unix:/PATH.
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint, env = "KO_SENTIMENT_ENDPOINT")]
    endpoint: String,

    #[command(flatten)]
    client: ClientArgs,
}

pub fn run(args: &HealthArgs) -> CliResult {
    block_on(async {
        if Client::connect(&args.client.options(&args.endpoint)?).await?.serving().await? {
            println!("SERVING");
            Ok(())
        } else {
            Err("NOT_SERVING".into())
        }
    })?
}
