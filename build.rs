//! Compiles the protos in pure Rust (no system `protoc`) and keeps their descriptors for gRPC reflection.

use std::path::PathBuf;

use prost::Message as _;

const PROTO: &str = "ko_sentiment/v1/sentiment.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("ko_sentiment_descriptor.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
