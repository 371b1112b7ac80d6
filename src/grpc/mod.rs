//! The contract on the wire. The only place that knows tonic and the generated types.
//!
//! | file | job |
//! | --- | --- |
//! | `service` | the methods |
//! | `wire` | between the domain's types and the generated ones |
//! | `accounting`, `meters` | every call counted; the server's numbers |
//! | `traced` | a call's place in a trace, and its spans |
//! | `status` | the one map from errors to gRPC codes |
//! | `refusal` | HTTP's own refusals, for what is no call |
//! | `call` | a request's span, count and log line |
//! | `front` | what every call passes first: its id, who asks |
//! | `metadata` | a call's id and deadline, as its metadata says |
//! | `unfinished` | bounds on messages that have not arrived whole |
//! | `priority` | how urgent a call is |
//! | `tokens`, `principal` | who may call, and how much |
//! | `server` | health, reflection, draining |
//! | `health` | `grpc.health.v1` |
//! | `accept`, `connection` | from sockets to served connections, within bounds |
//! | `web` | the page for browsers, and its calls |
//! | `listen`, `address` | the sockets; how they are named |
//! | `tls`, `x509` | the server's certificates |
//! | `reload` | files that take effect without a restart |
//! | `client`, `connect` | the same contract from the other side, for the command line |
//! | `failure` | what a client's error says of its request |

mod accept;
mod accounting;
mod address;
mod call;
mod client;
mod connect;
mod connection;
mod failure;
mod front;
mod health;
mod listen;
mod metadata;
mod meters;
pub mod pb;
mod principal;
mod priority;
mod refusal;
mod reload;
mod server;
mod service;
mod status;
mod tls;
mod tokens;
mod traced;
mod unfinished;
mod web;
mod wire;
mod x509;

pub use accept::ConnectionLimits;
pub use address::{AddressError, Listen, Target};
pub use client::{Client, ClientError, Reasons, RemoteReason};
pub use connect::{ClientOptions, ClientTls, ConnectError};
pub use failure::FailureKind;
pub use listen::sockets_are_passed;
pub use meters::{CODES, METHODS, MethodMeters, ServerMeters};
pub use principal::PrincipalUse;
pub use reload::{Reloaded, Reloads};
pub use server::{Server, ServerError, ServerOptions};
pub use tls::{TlsError, TlsFiles};
pub use tokens::{NewToken, TokensError, new_token};
