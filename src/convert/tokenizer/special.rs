//! Special tokens and the chat template.
//!
//! Source: `SpecialVocab` in `gguf-py/gguf/vocab.py` of llama.cpp.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::error::VocabError;
use crate::convert::input::error::SourceError;
use crate::convert::input::json::read_json_if_there;
use crate::files::open;
use crate::gguf::{Metadata, Value};

/// Bytes of a chat template at most.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;
/// The kinds of special tokens: their name in Hugging Face's files and in GGUF's keys.
const KINDS: [(&str, &str); 6] = [
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("mask", "mask"),
];
/// The kinds for which GGUF says whether the tokenizer adds them by itself.
const ADDED_KINDS: [&str; 3] = ["bos", "eos", "sep"];

/// Adds the special tokens' ids, which of them the tokenizer adds, and the chat template.
///
/// # Errors
/// [`VocabError::Source`], [`VocabError::SpecialToken`].
pub fn add(out: &mut Metadata, dir: &Path, config: &Json, n_tokens: usize) -> Result<(), VocabError> {
    let json = read_json_if_there(&dir.join("tokenizer.json"))?.unwrap_or_default();
    let tokenizer_config = read_json_if_there(&dir.join("tokenizer_config.json"))?.unwrap_or_default();
    let mut ids: BTreeMap<&str, i64> = BTreeMap::new();
    for (kind, _) in KINDS {
        let of_tokenizer = content(&tokenizer_config, kind).and_then(|text| id_of(&json, text));
        let of_config = config.get(format!("{kind}_token_id")).and_then(Json::as_i64);
        if let Some(id) = of_tokenizer.or(of_config) {
            ids.insert(kind, id);
        }
    }
    for (kind, gguf) in KINDS {
        let Some(&id) = ids.get(kind) else { continue };
        let id = u32::try_from(id)
            .ok()
            .filter(|id| (*id as usize) < n_tokens)
            .ok_or_else(|| VocabError::SpecialToken { kind: kind.to_owned(), id, n_tokens })?;
        out.set(gguf_id_key(gguf), Value::U32(id));
    }
    let template = template_additions(&json, &tokenizer_config);
    for kind in ADDED_KINDS {
        let of_config = tokenizer_config.get(format!("add_{kind}_token")).and_then(Json::as_bool);
        if let Some(adds) = template.get(kind).copied().or(of_config) {
            out.set(format!("tokenizer.ggml.add_{kind}_token"), Value::Bool(adds));
        }
    }
    add_chat_template(out, dir, &tokenizer_config)?;
    Ok(())
}

fn gguf_id_key(name: &str) -> String {
    format!("tokenizer.ggml.{name}_token_id")
}

/// The text of a special token: a string, or an object with `content`.
fn content<'a>(tokenizer_config: &'a Json, kind: &str) -> Option<&'a str> {
    let entry = tokenizer_config.get(format!("{kind}_token"))?;
    entry.as_str().or_else(|| entry.get("content")?.as_str())
}

fn id_of(json: &Json, text: &str) -> Option<i64> {
    let added = json.get("added_tokens")?.as_array()?;
    added.iter().find(|token| token["content"] == text)?.get("id")?.as_i64()
}

/// Which tokens the tokenizer's template puts around a text.
fn template_additions(json: &Json, tokenizer_config: &Json) -> BTreeMap<&'static str, bool> {
    let mut additions = BTreeMap::new();
    let Some(post) = json.get("post_processor").filter(|p| !p.is_null()) else { return additions };
    let processors = match post.get("processors").and_then(Json::as_array) {
        Some(list) => list.iter().collect(),
        None => vec![post],
    };
    let (bos, eos) = (content(tokenizer_config, "bos"), content(tokenizer_config, "eos"));
    for processor in processors {
        if processor["type"] != "TemplateProcessing" {
            continue;
        }
        let special = |token: &'_ Json| token["SpecialToken"]["id"].as_str().map(str::to_owned);
        let single = processor["single"].as_array().map(Vec::as_slice).unwrap_or_default();
        let (mut first, mut last) = (None, None);
        if single.len() > 1 {
            first = single.first().and_then(special);
            last = single.last().and_then(special);
        }
        if let Some(first) = &first {
            additions.insert("bos", bos.is_none_or(|bos| bos == first));
        }
        if last.is_some() {
            additions.insert("eos", true);
        }
        if let Some(adds) =
            pair_separator(processor, first.as_deref(), last.as_deref(), (tokenizer_config, eos))
        {
            additions.insert("sep", adds);
        }
    }
    additions
}

/// Whether the template of a pair puts a separator between its texts.
fn pair_separator(
    processor: &Json,
    first: Option<&str>,
    last: Option<&str>,
    (tokenizer_config, eos): (&Json, Option<&str>),
) -> Option<bool> {
    let special = |token: &Json| token["SpecialToken"]["id"].as_str().map(str::to_owned);
    let mut pair = processor["pair"].as_array().map(Vec::as_slice).unwrap_or_default();
    if first.is_some() && pair.first().and_then(special).as_deref() == first {
        pair = &pair[1..];
    }
    if last.is_some() && pair.last().and_then(special).as_deref() == last {
        pair = &pair[..pair.len() - 1];
    }
    let [a, between @ .., b] = pair else { return None };
    if a["Sequence"]["id"] != "A" || b["Sequence"]["id"] != "B" || between.is_empty() {
        return None;
    }
    let sep = content(tokenizer_config, "sep");
    let is_separator =
        |token: &Json| special(token).is_some_and(|s| Some(s.as_str()) == sep || Some(s.as_str()) == eos);
    Some(match between {
        [only] => is_separator(only) && last.is_none(),
        [one, two] => (is_separator(one) && last.is_none()) || is_separator(two),
        [one, ..] => is_separator(one) && last.is_none(),
        [] => return None,
    })
}

/// The chat template: of `tokenizer_config.json`, else `chat_template.jinja` or `.json`.
fn add_chat_template(out: &mut Metadata, dir: &Path, tokenizer_config: &Json) -> Result<(), SourceError> {
    let jinja = dir.join("chat_template.jinja");
    let template = if let Some(template) = tokenizer_config.get("chat_template") {
        template.clone()
    } else if jinja.is_file() {
        let text = open::read_text(&jinja, MAX_TEMPLATE_BYTES)
            .map_err(|source| SourceError::Io { path: jinja.clone(), source })?;
        Json::String(text)
    } else {
        let json = read_json_if_there(&dir.join("chat_template.json"))?.unwrap_or_default();
        json.get("chat_template").cloned().unwrap_or_default()
    };
    match &template {
        Json::String(text) => out.set("tokenizer.chat_template", text.as_str()),
        Json::Array(named) => {
            let default = named.iter().find(|t| t["name"] == "default").and_then(|t| t["template"].as_str());
            if let Some(text) = default {
                out.set("tokenizer.chat_template", text);
            }
        }
        _ => {}
    }
    Ok(())
}
