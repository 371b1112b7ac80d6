//! `ko-sentiment serve`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::model_args::ModelArgs;
use super::model_watch::ModelWatch;
use super::run::{CliResult, block_on};
use super::supervisor::Supervisor;
use super::transport_args::TransportArgs;
use super::watch_args::WatchArgs;
use crate::grpc::{Server, ServerOptions};
use crate::llama::{Places, cpu};
use crate::load::load;
use crate::sentiment::classify::Classifier;
use crate::telemetry::otlp::Traces;

/// After the last call, how long its spans may take to leave.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Serve the model over gRPC.
///
/// For example: ko-sentiment serve --model model.gguf --listen 0.0.0.0:50051
///
/// On SIGTERM or Ctrl-C, running requests finish and new ones are rejected; a second signal stops at once.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// GGUF file from `convert-model`.
    #[arg(long, short = 'm', value_name = "FILE", env = "KO_SENTIMENT_MODEL")]
    model: PathBuf,

    #[command(flatten)]
    transport: TransportArgs,

    #[command(flatten)]
    watching: WatchArgs,

    #[command(flatten)]
    options: ModelArgs,
}

pub fn run(args: &ServeArgs) -> CliResult {
    let watch = ModelWatch::open(&args.model)?;
    let trace_settings = Traces::settings()?;
    args.options.try_first(&args.model)?;
    let classifier = Arc::new(load(&args.model, args.options.options()?)?);
    watch.check_loaded()?;
    log_model(args, &classifier)?;
    block_on(async {
        let mut first = Signals::new()?;
        let mut second = Signals::new()?;
        let traces = trace_settings.as_ref().map_or_else(|| Ok(Traces::default()), Traces::start)?;
        let options = ServerOptions { tracer: traces.tracer(), ..args.transport.options() };
        let server = Server::bind(classifier.clone(), options).await?;
        let _reloading = AbortOnDropHandle::new(tokio::spawn(on_hangup(server.reload())?));
        let watching = args.watching.begin(&server, &classifier).await?;
        let supervisor = Arc::new(Supervisor::from_environment()?);
        let mut stop = std::pin::pin!(async {
            or(first.next(), watch.modified()).await;
            watching.readiness.stopping();
            supervisor.stopping();
        });
        tokio::select! {
            warm = args.watching.warm_up(&classifier) => warm?,
            () = &mut stop => {
                watch.verdict()?;
                info!("stopped before it was warm");
                return Ok(());
            }
        }
        watching.readiness.ready();
        log_addresses(&server);
        supervisor.ready();
        let _alive = supervisor.clone().spawn_watchdog(classifier);
        let stop_now = async {
            // This one sees the first signal too.
            second.next().await;
            second.next().await;
        };
        let served = server.run(stop, or(stop_now, watch.modified())).await;
        traces.finish(LAST_SPANS).await;
        served?;
        watch.verdict()?;
        info!("stopped");
        Ok(())
    })?
}

fn log_model(args: &ServeArgs, classifier: &Classifier) -> CliResult {
    let card = classifier.card();
    info!(
        model = card.name,
        sha256 = card.sha256,
        quantization = card.quantization,
        profile = classifier.profile().name,
        cpu = %cpu()?,
        products = %Places::of(&args.model, args.options.kernels())?,
        max_request_tokens = classifier.engine().max_request_tokens(),
        "model ready"
    );
    Ok(())
}

fn log_addresses(server: &Server) {
    for address in server.addresses() {
        info!(address, "serving");
    }
    for address in server.web_addresses() {
        info!(address, "serving the page");
    }
}

/// Passes SIGHUP on, for ever.
fn on_hangup(reload: Arc<Notify>) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            reload.notify_one();
        }
    })
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
