//! Whether the output head is the embedding: one place decides, for checkpoints, GGUF files and adapters.
//!
//! The tensors decide, not the configuration alone: a head that was saved and equals the embedding is the
//! embedding; one that differs was trained apart, and dropping it would make another model.

use std::collections::BTreeMap;

use crate::convert::arch::Architecture;
use crate::convert::error::ConvertError;
use crate::convert::input::tensor::TensorSource;
use crate::convert::merge::adapter::{Adapter, AdapterError};
use crate::convert::quantise::read::same_numbers;

/// GGUF's name of the embedding.
pub const EMBEDDING: &str = "token_embd.weight";
/// GGUF's name of an output head of its own.
pub const HEAD: &str = "output.weight";

/// A base's head.
pub struct Settled {
    /// Whether it is the embedding.
    pub is_tied: bool,
    /// What the user should know of it.
    pub note: Option<String>,
}

/// Settles the head of a base with these tensors, by GGUF name; `ties` is what the configuration says, if it
/// does. A head that equals the embedding is removed where it isn't said to be one of its own.
pub fn settle(
    architecture: Architecture,
    tensors: &mut BTreeMap<String, TensorSource>,
    ties: Option<bool>,
) -> Result<Settled, ConvertError> {
    let can_have_head = architecture.can_have_head();
    let settled = |is_tied, note| Ok(Settled { is_tied, note });
    let Some(embedding) = tensors.get(EMBEDDING) else {
        return Err(ConvertError::MissingTensor("model.embed_tokens.weight".to_owned()));
    };
    let Some(head) = tensors.get(HEAD) else {
        return match ties {
            Some(false) if can_have_head => Err(ConvertError::MissingTensor("lm_head.weight".to_owned())),
            Some(false) => Err(ConvertError::UntiedHead),
            _ => settled(true, None),
        };
    };
    if head.shape != embedding.shape {
        let found = head.shape.iter().rev().copied().collect();
        let expected = format!("{}, {}", embedding.rows(), embedding.columns());
        return Err(ConvertError::Shape { name: "lm_head.weight".to_owned(), found, expected });
    }
    if can_have_head && ties == Some(false) {
        return settled(false, None);
    }
    if same_numbers(head, embedding)? {
        tensors.remove(HEAD);
        return settled(true, None);
    }
    if !can_have_head {
        return Err(ConvertError::UntiedHead);
    }
    let note =
        "lm_head.weight differs from the embedding, though config.json does not untie them; it is kept";
    settled(false, Some(note.to_owned()))
}

/// What an adapter makes of a head that is the base's embedding.
pub enum Fate {
    /// It stays the embedding.
    Tied,
    /// It becomes the embedding as it was before training.
    Base,
    /// It becomes the adapter's own tensor.
    Saved(TensorSource),
}

/// What `adapter` makes of a tied head; `base` is the base's embedding, `trained` the adapter's own, if it has one.
pub fn adapt(
    architecture: Architecture,
    adapter: &Adapter,
    base: &TensorSource,
    trained: Option<&TensorSource>,
) -> Result<Fate, AdapterError> {
    let can_have_head = architecture.can_have_head();
    let has_embedding_lora = adapter.has_lora("model.embed_tokens");
    let is_tied_in_training = adapter.config.ensure_weight_tying;
    if adapter.has_lora("lm_head") && !adapter.head_mirrors_embedding()? {
        return match can_have_head {
            true => Ok(Fate::Base),
            false => Err(AdapterError::TiedHead("its LoRA is not the embedding's".to_owned())),
        };
    }
    if let Some(head) = adapter.replaced.get("lm_head.weight") {
        // PEFT may save the head next to a trained embedding; tied, it must be the same.
        check_replacement("lm_head.weight", head, base)?;
        let is_same = same_numbers(head, trained.unwrap_or(base))?;
        return match is_same && (is_tied_in_training || !has_embedding_lora) {
            true => Ok(Fate::Tied),
            false if can_have_head => Ok(Fate::Saved(head.clone())),
            false => Err(AdapterError::TiedHead("its lm_head.weight is not the embedding".to_owned())),
        };
    }
    match (has_embedding_lora || trained.is_some()) && !is_tied_in_training {
        false => Ok(Fate::Tied),
        true if can_have_head => Ok(Fate::Base),
        true => Err(AdapterError::UntiedEmbedding),
    }
}

/// Refuses an adapter's whole tensor of another shape than the base's.
pub fn check_replacement(name: &str, source: &TensorSource, base: &TensorSource) -> Result<(), AdapterError> {
    if source.shape == base.shape {
        return Ok(());
    }
    let is_vocabulary = name == "model.embed_tokens.weight" || name == "lm_head.weight";
    if is_vocabulary && source.columns() == base.columns() {
        return Err(AdapterError::VocabularyGrew { adapter: source.rows(), base: base.rows() });
    }
    Err(AdapterError::Shape {
        tensor: name.to_owned(),
        found: source.shape.iter().rev().copied().collect(),
        expected: base.shape.iter().rev().copied().collect(),
    })
}
