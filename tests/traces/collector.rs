//! A collector: the other side of OTLP over gRPC.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ko_sentiment::grpc::ServerOptions;
use ko_sentiment::telemetry::otlp::pb::trace_service_server::{TraceService, TraceServiceServer};
use ko_sentiment::telemetry::otlp::pb::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse, KeyValue, Span,
    any_value,
};
use ko_sentiment::telemetry::otlp::{Settings, Traces};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::support::{Fake, TestServer};

/// How the collector answers.
#[derive(Clone, Default)]
pub struct Manner {
    /// Batches that it is too busy for, before it takes one.
    pub busy_for: usize,
    /// Spans of each batch that it refuses.
    pub rejects: i64,
    /// It never answers.
    pub hangs: bool,
    /// Its certificate and key, in PEM.
    pub identity: Option<(String, String)>,
}

/// A running collector.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    manner: Manner,
    asked: Arc<AtomicUsize>,
    batches: Arc<Mutex<Vec<(MetadataMap, ExportTraceServiceRequest)>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.manner.hangs {
            std::future::pending::<()>().await;
        }
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.manner.busy_for {
            return Err(Status::unavailable("busy"));
        }
        let (metadata, _, batch) = request.into_parts();
        self.batches.lock().unwrap().push((metadata, batch));
        let partial = (self.manner.rejects > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: self.manner.rejects,
            error_message: "too\u{1b}[2J old".into(),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success: partial }))
    }
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = Self { address, manner, asked: Arc::default(), batches: Arc::default() };
        let mut server = Server::builder();
        if let Some((certificate, key)) = &this.manner.identity {
            let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
            server = server.tls_config(tls).unwrap();
        }
        let service = TraceServiceServer::new(this.clone()).accept_compressed(CompressionEncoding::Gzip);
        let serving = server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        this
    }

    /// Where it is, as the variable has it.
    pub fn endpoint(&self) -> (&'static str, String) {
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address))
    }

    /// How often it was asked to take a batch.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// All batches so far, with their metadata.
    pub fn batches(&self) -> Vec<(MetadataMap, ExportTraceServiceRequest)> {
        self.batches.lock().unwrap().clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let batches = self.batches();
        let resources = batches.into_iter().flat_map(|(_, batch)| batch.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The spans, once there are so many.
    pub async fn has(&self, count: usize) -> Vec<Span> {
        for _ in 0..500 {
            if self.spans().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
        spans
    }
}

/// Traces as these variables say, with batches that leave at once.
pub fn traces(variables: &[(&str, String)]) -> Traces {
    let soon = [("OTEL_BSP_SCHEDULE_DELAY", "5".to_owned())];
    let all = [&soon, variables].concat();
    let get = |name: &str| all.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.into());
    let (settings, warnings) = Settings::read(&get).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    settings.map_or_else(Traces::default, |settings| Traces::start(&settings).unwrap())
}

/// A server whose calls are traced.
pub async fn traced(fake: Fake, traces: &Traces) -> TestServer {
    let options = ServerOptions { tracer: traces.tracer(), ..ServerOptions::default() };
    TestServer::start_with(fake.classifier(), options).await
}

/// Attributes by name, as text.
pub fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::BoolValue(truth) => truth.to_string(),
        any_value::Value::IntValue(number) => number.to_string(),
    };
    list.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}
