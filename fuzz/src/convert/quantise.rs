//! `src/convert/quantise/`, as far as parsers need it.

#[path = "../../../src/convert/quantise/read.rs"]
pub mod read;

/// In place of `quant.rs`: no parser reads blocks.
pub mod quant {
    use crate::gguf::tensor_type::TensorType;

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
