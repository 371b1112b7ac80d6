//! `src/convert/tokenizer/`.

#[path = "../../../src/convert/tokenizer/error.rs"]
pub mod error;
#[path = "../../../src/convert/tokenizer/special.rs"]
pub mod special;
#[path = "../../../src/convert/tokenizer/vocab.rs"]
pub mod vocab;
