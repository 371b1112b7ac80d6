//! The vocabulary: what llama.cpp's SentencePiece tokeniser asserts or throws by.
//!
//! Source: `llama_vocab::impl::load`, `byte_to_token` and `token_to_byte` in `llama-vocab.cpp`. A byte
//! without a token is found only when a comment has it, and ends the process then.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use super::error::CheckError;
use crate::gguf::{Array, Metadata, Value, ValueType};

/// More tokens than any supported model has.
const MAX_TOKENS: u64 = 1 << 22;
/// Bytes of a token: more than any real one, and few enough for a copy of each.
const MAX_TOKEN_BYTES: usize = 1 << 12;
/// `LLAMA_TOKEN_TYPE_BYTE`, and the largest type.
const BYTE: i32 = 6;

/// Keys that are a token's number.
const IDS: [&str; 17] = [
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "padding_token_id",
    "mask_token_id",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
];

/// Keys that are booleans.
const FLAGS: [&str; 7] = [
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "remove_extra_whitespaces",
    "normalizer.lowercase",
    "normalizer.strip_accents",
];

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

/// Checks the vocabulary. Returns its number of tokens.
pub(super) fn check(metadata: &Metadata) -> Result<u64, CheckError> {
    let model = metadata.get(&key("model"));
    // Gemma's is SentencePiece's, which llama.cpp calls by the first model that had it.
    if model.and_then(Value::as_str) != Some("llama") {
        return Err(CheckError::setting(&key("model"), model, "\"llama\", SentencePiece's"));
    }
    if let Some(value) = metadata.get(&key("pre")).filter(|value| value.as_str().is_none()) {
        return Err(CheckError::setting(&key("pre"), Some(value), "a string"));
    }
    let tokens = array(metadata, "tokens", &[ValueType::Str], None)?;
    if tokens.is_empty() || tokens.len() > MAX_TOKENS {
        let value = metadata.get(&key("tokens"));
        return Err(CheckError::setting(&key("tokens"), value, format!("of 1 to {MAX_TOKENS} strings")));
    }
    let n = tokens.len();
    let types = array(metadata, "token_type", &[ValueType::I32], Some(n))?;
    let scores = array(metadata, "scores", &[ValueType::F32, ValueType::I32], Some(n))?;
    if scores.f32s().any(f32::is_nan) {
        return Err(CheckError::setting(
            &key("scores"),
            metadata.get(&key("scores")),
            "numbers, without NaN",
        ));
    }
    texts(tokens, types)?;
    references(metadata, n)?;
    Ok(n)
}

/// An array of one of these types, of this length.
fn array<'a>(
    metadata: &'a Metadata,
    name: &str,
    types: &[ValueType],
    len: Option<u64>,
) -> Result<&'a Array, CheckError> {
    let value = metadata.get(&key(name));
    let array = value.and_then(Value::as_array);
    let fits = |array: &&Array| types.contains(&array.elements()) && len.is_none_or(|len| len == array.len());
    array.filter(fits).ok_or_else(|| {
        let count = len.map(|len| format!(" {len}")).unwrap_or_default();
        CheckError::setting(&key(name), value, format!("an array of{count} {:?}", types[0]))
    })
}

/// Each text is UTF-8 and there once; each byte has its token.
fn texts(tokens: &Array, types: &Array) -> Result<(), CheckError> {
    let (hasher, mut hashes) = (RandomState::new(), Vec::with_capacity(tokens.len() as usize));
    let mut bytes = [false; 256];
    for (id, (text, token_type)) in tokens.strings().zip(types.i32s()).enumerate() {
        if let Some(fault) = fault(text, token_type == BYTE, &mut bytes) {
            return Err(repeated(tokens, id).unwrap_or_else(|| fault_of(id, text, fault)));
        }
        hashes.push(hasher.hash_one(&*stored(id, text)));
    }
    // A table of 262,144 texts costs ten times as much as sorted hashes, of which two are hardly ever equal.
    hashes.sort_unstable();
    let twice = hashes.windows(2).any(|pair| pair[0] == pair[1]);
    if let Some(error) = twice.then(|| repeated(tokens, hashes.len())).flatten() {
        return Err(error);
    }
    let missing: Vec<u8> = (0..=255).filter(|byte| !bytes[usize::from(*byte)]).collect();
    if missing.is_empty() { Ok(()) } else { Err(CheckError::NoByte(missing)) }
}

/// What is wrong with a token alone; notes the byte that it is.
fn fault(text: &[u8], is_byte: bool, bytes: &mut [bool; 256]) -> Option<&'static str> {
    let readable = std::str::from_utf8(text).is_ok() && !text.contains(&0);
    if !readable || text.len() > MAX_TOKEN_BYTES {
        return Some("is not UTF-8, holds a zero byte or is too long");
    }
    match (byte_of(text), is_byte) {
        (Some(byte), true) => {
            bytes[usize::from(byte)] = true;
            None
        }
        (None, false) => None,
        (None, true) => Some("is of the type of bytes and is none"),
        (Some(_), false) => Some("is a byte and not of that type"),
    }
}

/// The first of `count` tokens whose text an earlier one has.
fn repeated(tokens: &Array, count: usize) -> Option<CheckError> {
    let mut texts = HashSet::with_capacity(count);
    let mut first = tokens.strings().take(count).enumerate();
    let (id, text) = first.find(|(id, text)| !texts.insert(stored(*id, text)))?;
    Some(fault_of(id, text, "is there twice"))
}

/// A token's text, which llama.cpp makes up for those without.
fn stored(id: usize, text: &[u8]) -> Cow<'_, [u8]> {
    match text {
        [] => Cow::Owned(format!("[EMPTY_{id}]").into_bytes()),
        text => Cow::Borrowed(text),
    }
}

fn fault_of(id: usize, text: &[u8], fault: &'static str) -> CheckError {
    CheckError::Token { id, text: String::from_utf8_lossy(text).into_owned(), fault }
}

/// The byte that `<0x0A>` stands for; llama.cpp looks for capital digits.
fn byte_of(text: &[u8]) -> Option<u8> {
    let [b'<', b'0', b'x', high, low, b'>'] = text else { return None };
    let digit = |c: &u8| b"0123456789ABCDEF".iter().position(|d| d == c);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Token numbers are the vocabulary's, and of the types that llama.cpp takes.
fn references(metadata: &Metadata, tokens: u64) -> Result<(), CheckError> {
    for name in IDS {
        let value = metadata.get(&key(name));
        if !matches!(value, None | Some(Value::U32(_)))
            || value.and_then(Value::as_u64).is_some_and(|id| id >= tokens)
        {
            return Err(CheckError::setting(&key(name), value, format!("a U32 below {tokens}")));
        }
    }
    for name in FLAGS {
        let value = metadata.get(&key(name));
        if !matches!(value, None | Some(Value::Bool(_))) {
            return Err(CheckError::setting(&key(name), value, "a boolean"));
        }
    }
    let count = metadata.get(&key("token_type_count"));
    if !matches!(count, None | Some(Value::U32(_))) {
        return Err(CheckError::setting(&key("token_type_count"), count, "a U32"));
    }
    match metadata.get(&key("suppress_tokens")) {
        None => Ok(()),
        Some(Value::Array(array)) if array.elements() == ValueType::I32 && array.len() <= tokens => Ok(()),
        value => Err(CheckError::setting(&key("suppress_tokens"), value, "an array of I32")),
    }
}
