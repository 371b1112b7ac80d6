//! The contract on the wire. The only place that knows tonic and the generated types.
//!
//! | file | job |
//! | --- | --- |
//! | `service` | the methods |
//! | `wire` | between the domain's types and the generated ones |
//! | `status` | the one map from errors to gRPC codes |
//! | `call` | a request's id, span, count and log line |
//! | `server` | listening, health, reflection, draining |
//! | `client` | the same contract from the other side, for the command line |

mod call;
mod client;
pub mod pb;
mod server;
mod service;
mod status;
mod wire;

pub use client::{Client, ClientError, Reasons, RemoteReason};
pub use server::{Server, ServerError, ServerOptions};
