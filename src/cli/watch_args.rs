//! Flags for those who watch a server: its metrics port and its warm-up.

use std::sync::Arc;

use clap::Args;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::ranges::switch;
use super::run::Failure;
use crate::grpc::Server;
use crate::sentiment::classify::Classifier;
use crate::sentiment::warm_up::warm_up;
use crate::telemetry::{Metrics, Port, Readiness};

/// How a server is watched.
#[derive(Debug, Args)]
#[command(next_help_heading = "Monitoring options")]
pub struct WatchArgs {
    /// Address and port for /metrics (Prometheus), /livez and /readyz, in plain HTTP without authentication; port 0
    /// picks a free port and logs it [default: none].
    #[arg(long, value_name = "HOST:PORT", env = "KO_SENTIMENT_METRICS_LISTEN")]
    metrics_listen: Option<String>,

    /// Serve at once, without the warm-up.
    #[arg(long, value_parser = switch, env = "KO_SENTIMENT_NO_WARM_UP")]
    no_warm_up: bool,
}

/// A server's metrics port, if it has one, and what `/readyz` says.
pub struct Watching {
    /// What `/readyz` says.
    pub readiness: Readiness,
    _port: Option<AbortOnDropHandle<()>>,
}

impl WatchArgs {
    /// Opens the port, before the server is ready.
    pub async fn begin(&self, server: &Server, classifier: &Arc<Classifier>) -> Result<Watching, Failure> {
        let readiness = Readiness::default();
        let Some(address) = &self.metrics_listen else { return Ok(Watching { readiness, _port: None }) };
        let port = Port::bind(address).await.map_err(|error| {
            let address: String = address.escape_debug().collect();
            format!("cannot serve metrics on {address}: {error}; choose another with --metrics-listen")
        })?;
        info!(address = %port.address(), "serving metrics");
        let metrics = Metrics::new(classifier.clone(), server.meters(), readiness.clone());
        let port = AbortOnDropHandle::new(tokio::spawn(port.serve(metrics)));
        Ok(Watching { readiness, _port: Some(port) })
    }

    /// Runs one comment of each shape, unless that is not wanted.
    pub async fn warm_up(&self, classifier: &Arc<Classifier>) -> Result<(), Failure> {
        if !self.no_warm_up {
            let failed = |error| format!("the warm-up failed: {error}; see the log, or set --no-warm-up");
            warm_up(classifier).await.map_err(failed)?;
        }
        Ok(())
    }
}
