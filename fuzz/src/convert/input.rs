//! `src/convert/input/`, without the hub.

#[path = "../../../src/convert/input/checkpoint.rs"]
pub mod checkpoint;
#[path = "../../../src/convert/input/error.rs"]
pub mod error;
#[path = "../../../src/convert/input/json.rs"]
pub mod json;
#[path = "../../../src/convert/input/layout.rs"]
pub mod layout;
#[path = "../../../src/convert/input/safetensors.rs"]
pub mod safetensors;
#[path = "../../../src/convert/input/tensor.rs"]
pub mod tensor;
