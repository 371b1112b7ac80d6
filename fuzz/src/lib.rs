//! The converter's parsers, compiled from the crate's own files but without llama.cpp: a fuzzer's
//! build takes seconds then, and what it explores is our code alone.
#![allow(dead_code, missing_docs)]

#[path = "../../src/convert/adapter.rs"]
pub mod adapter;
#[path = "../../src/convert/gguf.rs"]
pub mod gguf;
#[path = "../../src/convert/lora.rs"]
pub mod lora;
#[path = "../../src/convert/metadata.rs"]
pub mod metadata;
#[path = "../../src/convert/safetensors.rs"]
pub mod safetensors;
#[path = "../../src/convert/source.rs"]
pub mod source;
#[path = "../../src/convert/special.rs"]
pub mod special;
#[path = "../../src/convert/tensor_type.rs"]
pub mod tensor_type;
#[path = "../../src/convert/vocab.rs"]
pub mod vocab;

/// In place of `convert/quant.rs`: no parser reads blocks.
pub mod quant {
    use crate::tensor_type::TensorType;

    #[derive(Debug, thiserror::Error)]
    #[error("no {0:?} without llama.cpp")]
    pub struct QuantError(TensorType);

    pub struct Rows {
        pub tensor_type: TensorType,
        pub rows: usize,
        pub columns: usize,
    }

    pub fn dequantise(rows: Rows, _blocks: &[u8], _numbers: &mut [f32]) -> Result<(), QuantError> {
        Err(QuantError(rows.tensor_type))
    }
}
