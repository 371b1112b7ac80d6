//! `src/grpc/`, as far as it reads what peers send itself; the rest is HTTP/2, gRPC and protobuf of libraries.

#[path = "../../src/grpc/metadata.rs"]
pub mod metadata;
#[path = "../../src/grpc/meters.rs"]
pub mod meters;
#[path = "../../src/grpc/principal.rs"]
pub mod principal;
#[path = "../../src/grpc/priority.rs"]
pub mod priority;
#[path = "../../src/grpc/reload.rs"]
pub mod reload;
#[path = "../../src/grpc/status.rs"]
pub mod status;
#[path = "../../src/grpc/tls.rs"]
pub mod tls;
#[path = "../../src/grpc/tokens.rs"]
pub mod tokens;
#[path = "../../src/grpc/unfinished.rs"]
pub mod unfinished;
#[path = "../../src/grpc/x509.rs"]
pub mod x509;
