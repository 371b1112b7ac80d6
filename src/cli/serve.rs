//! `ko-sentiment serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use super::model_args::ModelArgs;
use super::model_watch::ModelWatch;
use super::run::{CliResult, block_on};
use crate::grpc::{Server, ServerOptions};
use crate::llama::cpu;
use crate::load::load;

/// For example: ko-sentiment serve --model model.gguf --listen 0.0.0.0:50051
///
/// SIGTERM or Ctrl-C: no new requests, running ones finish; a second one stops at once.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The model: a GGUF file that `convert-model` made.
    #[arg(long, short = 'm', value_name = "FILE", env = "KO_SENTIMENT_MODEL")]
    model: PathBuf,

    /// Address and port; port 0 takes a free one, which the log tells.
    #[arg(long, value_name = "ADDR", default_value_t = ServerOptions::default().listen, env = "KO_SENTIMENT_LISTEN")]
    listen: SocketAddr,

    /// Do not tell clients the contract through gRPC reflection.
    #[arg(long, env = "KO_SENTIMENT_NO_REFLECTION")]
    no_reflection: bool,

    /// Bytes of a request at most.
    #[arg(long, value_name = "N", default_value_t = ServerOptions::default().max_message_bytes, env = "KO_SENTIMENT_MAX_MESSAGE_BYTES")]
    max_message_bytes: usize,

    /// On a stop, seconds that running requests may take to finish.
    #[arg(long, value_name = "S", default_value_t = ServerOptions::default().grace.as_secs(), env = "KO_SENTIMENT_GRACE_SECONDS")]
    grace_seconds: u64,

    #[command(flatten)]
    options: ModelArgs,
}

pub fn run(args: &ServeArgs) -> CliResult {
    let watch = ModelWatch::open(&args.model)?;
    let classifier = Arc::new(load(&args.model, args.options.options()?)?);
    watch.check_loaded()?;
    let card = classifier.card();
    info!(
        model = card.name,
        sha256 = card.sha256,
        quantization = card.quantization,
        profile = classifier.profile().name,
        cpu = %cpu()?,
        max_request_tokens = classifier.engine().max_request_tokens(),
        "model ready"
    );
    let options = ServerOptions {
        listen: args.listen,
        reflection: !args.no_reflection,
        max_message_bytes: args.max_message_bytes,
        grace: Duration::from_secs(args.grace_seconds),
    };
    block_on(async {
        let mut first = Signals::new()?;
        let mut second = Signals::new()?;
        let server = Server::bind(classifier, options).await?;
        info!(address = %server.address(), "serving");
        let stop_now = async {
            // This one sees the first signal too.
            second.next().await;
            second.next().await;
        };
        server.run(or(first.next(), watch.modified()), or(stop_now, watch.modified())).await?;
        watch.verdict()?;
        info!("stopped");
        Ok(())
    })?
}

/// Whichever comes first.
async fn or(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
