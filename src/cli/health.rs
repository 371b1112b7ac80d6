//! `ko-sentiment health`

use clap::Args;

use super::run::{CliResult, block_on};
use crate::grpc::Client;

/// For example: ko-sentiment health --endpoint 127.0.0.1:50051
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The server.
    #[arg(long, value_name = "HOST:PORT", env = "KO_SENTIMENT_ENDPOINT")]
    endpoint: String,
}

pub fn run(args: &HealthArgs) -> CliResult {
    block_on(async {
        if Client::connect(&args.endpoint).await?.serving().await? {
            println!("SERVING");
            Ok(())
        } else {
            Err("NOT_SERVING".into())
        }
    })?
}
