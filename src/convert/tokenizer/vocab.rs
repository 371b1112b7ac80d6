//! The vocabulary: pieces, scores and types, from `tokenizer.model` or else `tokenizer.json`.
//!
//! Source: `_create_vocab_sentencepiece` in `conversion/base.py` of llama.cpp. It reads only
//! `tokenizer.model`; the way over `tokenizer.json`, which many merged uploads have alone, is ours.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use prost::Message;
use serde_json::Value as Json;

use super::error::VocabError;
use super::special;
use crate::convert::input::error::SourceError;
use crate::convert::input::json::{read_json, read_json_if_there};
use crate::files::open;
use crate::gguf::{Array, Metadata, Value};

/// Bytes of `tokenizer.model` at most: ten times Gemma's.
const MAX_BYTES: u64 = 64 << 20;
/// More tokens than any supported model has.
const MAX_TOKENS: usize = 1 << 22;
/// Scores of rows that the tokenizer has no piece for, and of added tokens.
const PAD_SCORE: f32 = -10_000.0;
const ADDED_SCORE: f32 = -1_000.0;

/// What a token is, by SentencePiece's and GGUF's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its text, `▁` for a space.
    pub text: String,
    /// Its score: BPE merges the pair of the highest first.
    pub score: f32,
    /// What it is.
    pub token_type: TokenType,
}

/// The part of SentencePiece's `ModelProto` that is needed
/// (`sentencepiece_model.proto` of google/sentencepiece).
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    piece_type: Option<i32>,
}

/// Parses a SentencePiece model.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_sentencepiece(bytes: &[u8]) -> Result<Vec<Token>, String> {
    let model = ModelProto::decode(bytes).map_err(|e| e.to_string())?;
    if model.pieces.is_empty() {
        return Err("it has no pieces".to_owned());
    }
    if model.pieces.len() > MAX_TOKENS {
        return Err(format!("it has {} pieces", model.pieces.len()));
    }
    let token = |piece: Piece| Token {
        text: piece.piece.unwrap_or_default(),
        score: piece.score.unwrap_or(0.0),
        token_type: match piece.piece_type {
            Some(2) => TokenType::Unknown,
            Some(3) => TokenType::Control,
            Some(5) => TokenType::Unused,
            Some(6) => TokenType::Byte,
            // Like llama.cpp: only the tokenizer's configuration makes a token user-defined.
            _ => TokenType::Normal,
        },
    };
    Ok(model.pieces.into_iter().map(token).collect())
}

/// Rebuilds pieces and scores from a `tokenizer.json` that transformers made of a SentencePiece BPE:
/// the earlier a piece's first merge, the higher its score.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_tokenizer_json(json: &Json) -> Result<HashMap<usize, Token>, String> {
    let model = &json["model"];
    if model["type"] != "BPE" || model["byte_fallback"] != true {
        return Err("its model is not a BPE with byte_fallback".to_owned());
    }
    let vocab = model["vocab"].as_object().ok_or("it has no vocab")?;
    let merges = model["merges"].as_array().ok_or("it has no merges")?;
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for merge in merges {
        let piece = match merge {
            Json::String(pair) => pair.split_once(' ').map(|(a, b)| format!("{a}{b}")),
            Json::Array(pair) => pair.iter().map(Json::as_str).collect::<Option<String>>(),
            _ => None,
        };
        let next = ranks.len();
        ranks.entry(piece.ok_or("a merge is not a pair of pieces")?).or_insert(next);
    }
    let unknown = model["unk_token"].as_str();
    let mut tokens = HashMap::new();
    for (text, id) in vocab {
        let id =
            id.as_u64().filter(|id| *id < MAX_TOKENS as u64).ok_or("a token's id is impossible")? as usize;
        let token_type = match text {
            text if Some(text.as_str()) == unknown => TokenType::Unknown,
            text if is_byte(text) => TokenType::Byte,
            _ => TokenType::Normal,
        };
        let rank = ranks.get(text).copied().unwrap_or(ranks.len() + id);
        let score = if token_type == TokenType::Normal { -(rank as f32) } else { 0.0 };
        tokens.insert(id, Token { text: text.clone(), score, token_type });
    }
    Ok(tokens)
}

/// `<0x00>` to `<0xFF>`.
fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok())
}

/// Reads the vocabulary of a checkpoint's folder: exactly `n_tokens` tokens, the rows that have no
/// piece as unused `[PADn]`.
///
/// # Errors
/// Any [`VocabError`].
pub fn read(dir: &Path, n_tokens: usize) -> Result<Vec<Token>, VocabError> {
    let json_path = dir.join("tokenizer.json");
    let json = read_json_if_there(&json_path)?;
    let added = added_tokens(dir, json.as_ref())?;
    let pieces = match (read_sentencepiece(dir)?, &json) {
        (Some(pieces), json) => {
            if let Some(json) = json {
                check_same(dir, &pieces, json, &added)?;
            }
            pieces.into_iter().enumerate().collect()
        }
        (None, Some(json)) => parse_tokenizer_json(json)
            .map_err(|reason| VocabError::TokenizerJson { path: json_path.clone(), reason })?,
        (None, None) => return Err(VocabError::Missing(dir.to_owned())),
    };
    let pad = |id| Token { text: format!("[PAD{id}]"), score: PAD_SCORE, token_type: TokenType::Unused };
    let mut tokens: Vec<Token> = (0..n_tokens).map(pad).collect();
    let mut put = |id: usize, token: Token| {
        if let Some(slot) = tokens.get_mut(id) {
            *slot = token;
        }
    };
    pieces.into_iter().for_each(|(id, token)| put(id, token));
    if let Some(Json::Object(added)) = read_json_if_there(&dir.join("added_tokens.json"))? {
        for (text, id) in added {
            let token = Token { text, score: ADDED_SCORE, token_type: TokenType::UserDefined };
            put(id.as_u64().map_or(usize::MAX, |id| id as usize), token);
        }
    }
    for (id, text, is_special) in added {
        put(id, added_token(text, is_special));
    }
    Ok(tokens)
}

/// Refuses a vocabulary with which llama.cpp would end the process: one without a token for each byte, by its
/// number or as itself, or with a text twice.
fn check_tokens(tokens: &[Token]) -> Result<(), VocabError> {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (second, token) in tokens.iter().enumerate() {
        if let Some(first) = ids.insert(&token.text, second) {
            return Err(VocabError::DuplicateToken { text: token.text.clone(), first, second });
        }
    }
    let is_there = |byte: &u8| {
        let itself = if byte.is_ascii() { char::from(*byte).to_string() } else { String::new() };
        ids.contains_key(format!("<0x{byte:02X}>").as_str()) || ids.contains_key(itself.as_str())
    };
    match (0..=u8::MAX).find(|byte| !is_there(byte)) {
        Some(byte) => Err(VocabError::MissingByte(byte)),
        None => Ok(()),
    }
}

/// The pieces of `tokenizer.model`, if it is there.
fn read_sentencepiece(dir: &Path) -> Result<Option<Vec<Token>>, VocabError> {
    let path = dir.join("tokenizer.model");
    if !path.is_file() {
        return Ok(None);
    }
    let bytes =
        open::read(&path, MAX_BYTES).map_err(|source| SourceError::Io { path: path.clone(), source })?;
    let pieces = parse_sentencepiece(&bytes).map_err(|reason| VocabError::SentencePiece { path, reason })?;
    Ok(Some(pieces))
}

/// Refuses a `tokenizer.json` whose vocabulary is not that of `tokenizer.model`. Added tokens may differ (they go
/// before both), and so may bytes: transformers writes the tab for `<0x09>`.
fn check_same(
    dir: &Path,
    pieces: &[Token],
    json: &Json,
    added: &[(usize, String, bool)],
) -> Result<(), VocabError> {
    let Some(vocab) = json["model"]["vocab"].as_object() else { return Ok(()) };
    let added: HashSet<usize> = added.iter().map(|(id, ..)| *id).collect();
    let differs = |(text, id): (&String, &Json)| {
        let id = id.as_u64().map_or(usize::MAX, |id| id as usize);
        let is_same = match pieces.get(id) {
            Some(piece) => piece.text == *text || piece.token_type == TokenType::Byte,
            None => false,
        };
        (!is_same && !added.contains(&id)).then_some(id)
    };
    let mut different: Vec<usize> = vocab.iter().filter_map(differs).collect();
    different.sort_unstable();
    match different.first() {
        Some(&id) => Err(VocabError::TwoVocabularies { dir: dir.to_owned(), n: different.len(), id }),
        None => Ok(()),
    }
}

/// The added tokens (id, text, special): of `tokenizer_config.json`'s `added_tokens_decoder`, or of
/// `tokenizer.json` where newer transformers keep them alone.
fn added_tokens(dir: &Path, json: Option<&Json>) -> Result<Vec<(usize, String, bool)>, VocabError> {
    let config = read_json_if_there(&dir.join("tokenizer_config.json"))?;
    let entry = |id: Option<usize>, token: &Json| {
        Some((id?, token["content"].as_str()?.to_owned(), token["special"] == true))
    };
    let decoder = config.as_ref().and_then(|c| c.get("added_tokens_decoder")).and_then(Json::as_object);
    let of_json = json.and_then(|j| j.get("added_tokens")).and_then(Json::as_array);
    Ok(match (decoder, of_json) {
        (Some(decoder), _) => decoder.iter().filter_map(|(id, t)| entry(id.parse().ok(), t)).collect(),
        (None, Some(list)) => {
            list.iter().filter_map(|t| entry(t["id"].as_u64().map(|id| id as usize), t)).collect()
        }
        (None, None) => Vec::new(),
    })
}

fn added_token(text: String, is_special: bool) -> Token {
    if is_special || looks_special(&text) {
        Token { text, score: ADDED_SCORE, token_type: TokenType::Control }
    } else {
        // llama.cpp matches user-defined tokens in the raw text, before spaces become `▁`.
        Token { text: text.replace('▁', " "), score: ADDED_SCORE, token_type: TokenType::UserDefined }
    }
}

/// Added tokens that ought to be control tokens, though their configuration says otherwise
/// (`does_token_look_special` in llama.cpp's converter).
fn looks_special(text: &str) -> bool {
    let is_in = |start, end| text.starts_with(start) && text.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || is_in("<|", "|>")
        || is_in("<｜", "｜>")
        || is_in("<unused", ">")
}

/// The vocabulary's metadata: tokens, scores, types, special tokens and the chat template.
///
/// # Errors
/// Any [`VocabError`].
pub fn metadata(dir: &Path, config: &Json, n_tokens: u64) -> Result<Vocabulary, VocabError> {
    let tokens = read(dir, n_tokens as usize)?;
    check_tokens(&tokens)?;
    let scores: Vec<f32> = tokens.iter().map(|t| t.score).collect();
    let types: Vec<i32> = tokens.iter().map(|t| t.token_type as i32).collect();
    let mut out = Metadata::new();
    out.set("tokenizer.ggml.model", "llama");
    out.set("tokenizer.ggml.pre", "default");
    out.set("tokenizer.ggml.tokens", Value::Array(Array::from_strings(tokens.iter().map(|t| &t.text))));
    out.set("tokenizer.ggml.scores", Value::Array(Array::from_f32s(&scores)));
    out.set("tokenizer.ggml.token_type", Value::Array(Array::from_i32s(&types)));
    special::add(&mut out, dir, config, tokens.len())?;
    out.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    let has_both = ["tokenizer.model", "tokenizer.json"].iter().all(|file| dir.join(file).is_file());
    let note = has_both.then(|| {
        "the vocabulary is tokenizer.model's; of tokenizer.json, the special tokens are taken".to_owned()
    });
    Ok(Vocabulary { metadata: out, note })
}

/// A vocabulary's metadata.
#[derive(Debug)]
pub struct Vocabulary {
    /// Tokens, scores, types, special tokens and the chat template.
    pub metadata: Metadata,
    /// Which file it is from, where two could be meant.
    pub note: Option<String>,
}

/// The number of tokens of a checkpoint: `vocab_size`, which the embedding's rows must reach.
///
/// # Errors
/// [`VocabError::Size`].
pub fn count(vocab_size: Option<u64>, rows: u64, may_be_longer: bool) -> Result<u64, VocabError> {
    let vocab_size = vocab_size.unwrap_or(rows);
    let fits = rows == vocab_size || (may_be_longer && rows > vocab_size);
    if fits { Ok(vocab_size) } else { Err(VocabError::Size { rows, vocab_size }) }
}

/// `generation_config.json`'s sampling settings, as llama.cpp's converter writes them.
///
/// # Errors
/// [`SourceError`].
pub fn sampling_metadata(dir: &Path) -> Result<Vec<(String, Value)>, SourceError> {
    let path = dir.join("generation_config.json");
    let Ok(config) = (if path.is_file() { read_json(&path) } else { Ok(Json::Null) }) else {
        return Ok(Vec::new());
    };
    let integer = |key: &str| config.get(key).and_then(Json::as_i64).and_then(|n| i32::try_from(n).ok());
    let number = |key: &str| config.get(key).and_then(Json::as_f64);
    let mut out = Vec::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.push((format!("general.sampling.{name}"), value));
        }
    };
    let float = |n: f64| Value::F32(n as f32);
    set("top_k", integer("top_k").map(Value::I32));
    set("top_p", number("top_p").map(float));
    set("min_p", number("min_p").map(float));
    set("temp", number("temperature").map(float));
    set("penalty_last_n", integer("penalty_last_n").map(Value::I32));
    set("penalty_repeat", number("penalty_repeat").or(number("repetition_penalty")).map(float));
    Ok(out)
}
