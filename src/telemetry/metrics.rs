//! The numbers of all rooms, under their names. A scrape reads atomics and a few files of `/proc`; it takes no
//! lock that a request or a step would wait for.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::exposition::{Exposition, Format};
use super::names::{self, Family};
use super::process::Process;
use super::readiness::Readiness;
use crate::engine::{Class, EngineState, Outcome};
use crate::grpc::{CODES, MethodMeters, Reloaded, ServerMeters};
use crate::meter::Histogram;
use crate::sentiment::classify::Classifier;
use crate::sentiment::labels::Sentiment;
use crate::trace::Loss;

/// The service whose codes are all exposed from the start, so that the first error of a kind is an increase.
const OURS: &str = "ko_sentiment.";

/// What a running server's metrics are read from.
#[derive(Clone)]
pub struct Metrics {
    classifier: Arc<Classifier>,
    server: Arc<ServerMeters>,
    readiness: Readiness,
}

impl Metrics {
    /// Of this server.
    pub fn new(classifier: Arc<Classifier>, server: Arc<ServerMeters>, readiness: Readiness) -> Self {
        Self { classifier, server, readiness }
    }

    /// Whether the server takes calls.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Whether the engine works.
    pub fn alive(&self) -> bool {
        *self.classifier.engine().state().borrow() == EngineState::Running
    }

    /// All of them, as text.
    pub fn render(&self, format: Format) -> String {
        let mut out = Exposition::new(format);
        self.calls(&mut out);
        self.access(&mut out);
        self.traces(&mut out);
        self.queue(&mut out);
        self.steps(&mut out);
        self.answers(&mut out);
        self.state(&mut out);
        process(&mut out);
        out.finish()
    }

    fn calls(&self, out: &mut Exposition) {
        let methods: Vec<_> = self.server.methods().collect();
        let used =
            |meters: &MethodMeters, service: &str| meters.started.get() > 0 || service.starts_with(OURS);
        let used = || methods.iter().filter(|((service, _), meters)| used(meters, service));
        out.family(&names::STARTED);
        for ((service, method), meters) in used() {
            out.sample(&names::STARTED, &[service, method], meters.started.get() as f64);
        }
        out.family(&names::HANDLED);
        for ((service, method), meters) in used() {
            for (code, count) in CODES.iter().zip(&meters.handled) {
                if count.get() > 0 || service.starts_with(OURS) {
                    out.sample(&names::HANDLED, &[service, method, code], count.get() as f64);
                }
            }
        }
        out.family(&names::HANDLING);
        for ((service, method), meters) in used() {
            out.histogram(&names::HANDLING, &[service, method], &meters.handling);
        }
        out.family(&names::ITEM_ERRORS);
        for (code, count) in CODES.iter().zip(&self.server.failed_items).skip(1) {
            out.sample(&names::ITEM_ERRORS, &[code], count.get() as f64);
        }
        out.family(&names::REFUSED);
        for (reason, count) in self.server.refusals() {
            out.sample(&names::REFUSED, &[&reason], count as f64);
        }
    }

    fn access(&self, out: &mut Exposition) {
        let server = &self.server;
        out.single(&names::CONNECTIONS, server.connections.get() as f64);
        count(out, &names::REFUSED_CONNECTIONS, server.refused_connections.get());
        count(out, &names::FAILED_HANDSHAKES, server.failed_handshakes.get());
        let principals = server.principals();
        out.family(&names::PRINCIPAL_CALLS);
        for principal in &principals {
            out.sample(&names::PRINCIPAL_CALLS, &[&principal.name], principal.calls as f64);
        }
        out.family(&names::PRINCIPAL_COMMENTS);
        for principal in &principals {
            out.sample(&names::PRINCIPAL_COMMENTS, &[&principal.name], principal.comments as f64);
        }
        out.family(&names::CERTIFICATE_EXPIRY);
        let ends = server.certificate_ends().and_then(|ends| ends.duration_since(UNIX_EPOCH).ok());
        if let Some(ends) = ends {
            out.sample(&names::CERTIFICATE_EXPIRY, &[], ends.as_secs_f64());
        }
        out.family(&names::RELOADS);
        for kind in Reloaded::ALL {
            let (done, failed) = (server.reloads.done(kind).get(), server.reloads.failed(kind).get());
            out.sample(&names::RELOADS, &[kind.name(), "done"], done as f64);
            out.sample(&names::RELOADS, &[kind.name(), "failed"], failed as f64);
        }
    }

    fn traces(&self, out: &mut Exposition) {
        let traces = &self.server.traces;
        count(out, &names::SPANS_EXPORTED, traces.exported.get());
        out.family(&names::SPANS_DROPPED);
        for loss in Loss::ALL {
            out.sample(&names::SPANS_DROPPED, &[loss.name()], traces.lost(loss).get() as f64);
        }
    }

    fn queue(&self, out: &mut Exposition) {
        let meters = self.classifier.engine().meters();
        count(out, &names::ADMITTED, meters.admitted.get());
        out.family(&names::ENDED);
        for outcome in Outcome::ALL {
            out.sample(&names::ENDED, &[outcome.name()], meters.ended(outcome).get() as f64);
        }
        out.family(&names::WAITING);
        for class in Class::ALL {
            out.sample(&names::WAITING, &[class.name()], meters.queue(class).waiting.get() as f64);
        }
        out.single(&names::RUNNING, meters.running.get() as f64);
        out.family(&names::QUEUE_WAIT);
        for class in Class::ALL {
            out.histogram(&names::QUEUE_WAIT, &[class.name()], &meters.queue(class).wait);
        }
        out.family(&names::QUEUE_ESTIMATE);
        for class in Class::ALL {
            out.histogram(&names::QUEUE_ESTIMATE, &[class.name()], &meters.queue(class).estimate);
        }
        histogram(out, &names::FIRST_TOKEN, &meters.first_token);
        histogram(out, &names::TOKEN_GAP, &meters.token_gap);
    }

    fn steps(&self, out: &mut Exposition) {
        let meters = self.classifier.engine().meters();
        histogram(out, &names::STEP, &meters.step);
        count(out, &names::FAILED_STEPS, meters.failed_steps.get());
        histogram(out, &names::BATCH_FILL, &meters.fill);
        count(out, &names::PREFILLED, meters.prefilled.get());
        count(out, &names::DECODED, meters.decoded.get());
        count(out, &names::DRAFTED, meters.drafted.get());
        count(out, &names::ACCEPTED, meters.accepted.get());
        count(out, &names::REUSED, meters.reused.get());
        out.single(&names::CELLS, meters.cells.get() as f64);
        out.single(&names::USED_CELLS, meters.used_cells.get() as f64);
        out.single(&names::EVICTABLE_CELLS, meters.evictable_cells.get() as f64);
        out.single(&names::VIDEOS, meters.videos.get() as f64);
        count(out, &names::EVICTED, meters.evicted.get());
    }

    fn answers(&self, out: &mut Exposition) {
        let (hits, misses) = self.classifier.cache_lookups();
        count(out, &names::CACHE_HITS, hits);
        count(out, &names::CACHE_MISSES, misses);
        out.family(&names::VERDICTS);
        for (label, verdicts) in Sentiment::ALL.into_iter().zip(&self.server.verdicts) {
            out.sample(&names::VERDICTS, &[label.name()], verdicts.get() as f64);
        }
        count(out, &names::ABSTAINED, self.server.abstained.get());
        histogram(out, &names::TOP_PROBABILITY, &self.server.top_probability);
    }

    fn state(&self, out: &mut Exposition) {
        out.single(&names::ENGINE_UP, f64::from(u8::from(self.alive())));
        out.single(&names::READY, f64::from(u8::from(self.readiness.is_ready())));
        let card = self.classifier.card();
        let profile = &self.classifier.profile().name;
        let labels = [env!("CARGO_PKG_VERSION"), &card.name, &card.quantization, profile];
        out.family(&names::BUILD_INFO);
        out.sample(&names::BUILD_INFO, &labels, 1.0);
    }
}

fn count(out: &mut Exposition, family: &Family, value: u64) {
    out.single(family, value as f64);
}

fn histogram(out: &mut Exposition, family: &Family, histogram: &Histogram) {
    out.family(family);
    out.histogram(family, &[], histogram);
}

fn process(out: &mut Exposition) {
    let process = Process::now();
    for (family, value) in [
        (&names::PROCESS_CPU, process.cpu),
        (&names::PROCESS_MEMORY, process.resident),
        (&names::PROCESS_VIRTUAL, process.virtual_memory),
        (&names::PROCESS_FDS, process.open_fds),
        (&names::PROCESS_MAX_FDS, process.max_fds),
        (&names::PROCESS_THREADS, process.threads),
        (&names::PROCESS_START, process.start),
    ] {
        if let Some(value) = value {
            out.single(family, value);
        }
    }
}
