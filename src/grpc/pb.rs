//! Generated from `proto/ko_sentiment/v1`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

tonic::include_proto!("ko_sentiment.v1");

/// Descriptors of the API, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ko_sentiment_descriptor.bin"));
