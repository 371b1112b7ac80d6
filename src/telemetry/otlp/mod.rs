//! Traces, to a collector of OpenTelemetry: OTLP over gRPC, with settings from the variables `OTEL_*`. A small exporter of
//! our own on the gRPC library that is here anyway; OpenTelemetry's libraries do not count what they lose.
//!
//! | file | job |
//! | --- | --- |
//! | `variables` | reading `OTEL_*`, with warnings |
//! | `settings` | what they mean |
//! | `collector` | the connection to the collector |
//! | `exporter` | batches, a bounded queue, an end |
//! | `wire` | spans as messages |

mod collector;
mod exporter;
pub mod pb;
mod settings;
mod variables;
mod wire;

pub use exporter::Traces;
pub use settings::{Batching, CollectorTls, Settings, TracesError};
