//! Compiles the protos in pure Rust (no system `protoc`) and keeps the API's descriptors for gRPC reflection.

use std::path::PathBuf;

use prost::Message as _;

const PROTO: &str = "ko_sentiment/v1/sentiment.proto";
const OTLP: &str = "src/telemetry/otlp/trace_service.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("ko_sentiment_descriptor.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed={OTLP}");
    tonic_prost_build::configure().compile_fds(protox::compile([OTLP], ["src"])?)?;
    if std::env::var_os("CARGO_FEATURE_DYNAMIC_BACKENDS").is_some() {
        // llama.cpp's libraries lie beside the binary, wherever that is.
        let mac = std::env::var("CARGO_CFG_TARGET_OS")? == "macos";
        let here = if mac { "@executable_path" } else { "$ORIGIN" };
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{here}");
    }
    Ok(())
}
