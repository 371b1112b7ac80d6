//! Takes finished spans from calls, which never wait for it, and gives them to the collector in batches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};

use super::collector::{self, Collector};
use super::pb::ExportTracePartialSuccess;
use super::settings::{Settings, TracesError};
use super::wire;
use crate::text::escape::shown;
use crate::trace::{Loss, Span, TraceMeters, Tracer};

/// A server's traces: off unless the environment asks for them.
#[derive(Default)]
pub struct Traces {
    tracer: Tracer,
    exporting: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Traces {
    /// What the environment asks for, with warnings in the log. It is all checked here and nothing is begun, so that a
    /// wrong value can be told before a model is loaded. `None` if nobody asks for traces.
    ///
    /// # Errors
    /// See [`TracesError`].
    pub fn settings() -> Result<Option<Settings>, TracesError> {
        let (settings, warnings) = Settings::read(&|name| std::env::var_os(name))?;
        for warning in warnings {
            warn!("{warning}");
        }
        if let Some(settings) = &settings {
            collector::endpoint(settings)?;
            info!(sampler = ?settings.sampler, "exporting traces");
        }
        Ok(settings)
    }

    /// Begins to export. Needs tokio's runtime.
    ///
    /// # Errors
    /// See [`TracesError`].
    pub fn start(settings: &Settings) -> Result<Self, TracesError> {
        let meters: Arc<TraceMeters> = Arc::default();
        let (sender, queue) = mpsc::channel(settings.batching.queue);
        let collector = Collector::new(settings)?;
        let stop = CancellationToken::new();
        let exporter =
            Exporter { collector, settings: settings.clone(), meters: meters.clone(), failing: false };
        let task = tokio::spawn(exporter.run(queue, stop.clone()));
        let lost = meters.clone();
        let tracer = Tracer::new(settings.sampler, meters, move |spans| enqueue(&sender, spans, &lost));
        Ok(Self { tracer, exporting: Some((task, stop)) })
    }

    /// What calls begin their spans with.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Gives what is left to the collector, as far as the time allows.
    pub async fn finish(self, limit: Duration) {
        let Some((mut task, stop)) = self.exporting else { return };
        stop.cancel();
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            task.abort();
            warn!(?limit, "the trace collector did not take the last spans in time; they are lost");
        }
    }
}

/// All spans of a call or none: half a trace misleads.
fn enqueue(queue: &mpsc::Sender<Span>, spans: Vec<Span>, meters: &TraceMeters) {
    match queue.try_reserve_many(spans.len()) {
        Ok(places) => spans.into_iter().zip(places).for_each(|(span, place)| place.send(span)),
        Err(_) => meters.lost(Loss::QueueFull).add(spans.len() as u64),
    }
}

struct Exporter {
    collector: Collector,
    settings: Settings,
    meters: Arc<TraceMeters>,
    /// The last batch was not taken.
    failing: bool,
}

impl Exporter {
    async fn run(mut self, mut queue: mpsc::Receiver<Span>, stop: CancellationToken) {
        let most = self.settings.batching.batch;
        let mut batch = Vec::new();
        while self.gather(&mut queue, &stop, &mut batch).await {
            self.export(std::mem::take(&mut batch)).await;
        }
        // Nobody can add to a closed queue, so this ends.
        queue.close();
        loop {
            while batch.len() < most
                && let Ok(span) = queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.export(std::mem::take(&mut batch)).await;
        }
    }

    /// Waits for a batch that is full, or old enough. `false` if it is time to stop.
    async fn gather(
        &self,
        queue: &mut mpsc::Receiver<Span>,
        stop: &CancellationToken,
        batch: &mut Vec<Span>,
    ) -> bool {
        let batching = self.settings.batching;
        let mut until = None;
        while batch.len() < batching.batch {
            let room = batching.batch - batch.len();
            let due = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return false,
                () = due => return true,
                received = queue.recv_many(batch, room) => {
                    if received == 0 {
                        return false;
                    }
                    until = until.or_else(|| Some(Instant::now() + batching.delay));
                }
            }
        }
        true
    }

    async fn export(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        match self.collector.take(wire::request(&self.settings.resource, spans)).await {
            Ok(partial) => self.taken(count, partial),
            Err(status) => self.failed(count, &status),
        }
    }

    fn taken(&mut self, spans: u64, partial: Option<ExportTracePartialSuccess>) {
        if std::mem::take(&mut self.failing) {
            info!("the trace collector takes spans again");
        }
        let partial = partial.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0).min(spans);
        if rejected > 0 {
            let reason = shown(&partial.error_message);
            warn!(rejected, %reason, "the trace collector refused spans");
        }
        self.meters.lost(Loss::Rejected).add(rejected);
        self.meters.exported.add(spans - rejected);
    }

    /// Says it once; a collector that is down for a day is not a line every few seconds.
    fn failed(&mut self, spans: u64, status: &Status) {
        self.meters.lost(Loss::ExportFailed).add(spans);
        let (code, reason) = (status.code(), shown(status.message()));
        if std::mem::replace(&mut self.failing, true) {
            debug!(?code, %reason, "the trace collector still takes no spans");
        } else {
            warn!(?code, %reason, "the trace collector takes no spans; calls go on, and spans are dropped and counted");
        }
    }
}
