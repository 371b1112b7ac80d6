//! `grpc.health.v1`, with a watch that goes on for a service that is not there, as the protocol says.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};

/// Answers from what a [`HealthReporter`] was told. Services are known from the start, so that one that is
/// unknown stays so.
pub struct Healths(HealthService);

impl Healths {
    /// For a reporter.
    pub fn new(reporter: &HealthReporter) -> Self {
        Self(HealthService::from_health_reporter(reporter.clone()))
    }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Healths {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    type WatchStream = Statuses;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        match self.0.watch(request).await {
            Ok(watch) => Ok(watch.map(|statuses| Box::pin(statuses) as Statuses)),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                let statuses = stream::iter([Ok(unknown)]).chain(stream::pending());
                Ok(Response::new(Box::pin(statuses)))
            }
            Err(status) => Err(status),
        }
    }
}
