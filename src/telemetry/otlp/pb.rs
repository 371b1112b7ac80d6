//! Generated from `trace_service.proto`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
