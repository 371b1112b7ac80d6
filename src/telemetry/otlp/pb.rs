//! Generated from `trace_service.proto` by `make proto`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/generated/opentelemetry.proto.collector.trace.v1.rs"));
