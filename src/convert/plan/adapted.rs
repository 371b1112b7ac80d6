//! What an adapter does to the base's tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::head::{self, EMBEDDING, Fate, HEAD, check_replacement};
use super::model::Model;
use crate::convert::error::ConvertError;
use crate::convert::input::tensor::TensorSource;
use crate::convert::merge::adapter::{Adapter, AdapterError};
use crate::convert::merge::lora::LowRank;
use crate::convert::quantise::mixture::{Weight, is_weight};
use crate::convert::quantise::read::same_numbers;

/// An adapter on a base.
pub struct Adapted<'a> {
    adapter: &'a Adapter,
    /// The tensors that it puts in place of the base's, by GGUF name.
    replaced: BTreeMap<String, TensorSource>,
    /// Modules that it was asked for.
    used: BTreeSet<String>,
}

impl<'a> Adapted<'a> {
    /// Fits an adapter to a base, whose head it may untie.
    pub fn new(adapter: &'a Adapter, model: &mut Model) -> Result<Self, ConvertError> {
        if model.is_smoothed {
            return Err(AdapterError::SmoothedBase.into());
        }
        if let Some(width) = model.padded_from {
            return Err(AdapterError::PaddedBase(width).into());
        }
        model.notes.extend(adapter.notes.iter().cloned());
        let mut replaced = replacements(adapter, model)?;
        check_saved(adapter, model)?;
        if model.is_tied {
            let base = model.tensors[EMBEDDING].clone();
            let fate = head::adapt(model.architecture, adapter, &base, replaced.get(EMBEDDING))?;
            if !matches!(fate, Fate::Tied) {
                model.tensors.insert(HEAD.to_owned(), base);
                model.is_tied = false;
                model.notes.push(
                    "the adapter unties lm_head from the embedding; it becomes a tensor of its own"
                        .to_owned(),
                );
            }
            if let Fate::Saved(head) = fate {
                replaced.insert(HEAD.to_owned(), head);
            }
        }
        Ok(Self { adapter, replaced, used: BTreeSet::new() })
    }

    /// The tensor in place of the base's.
    pub fn replacement(&self, name: &str) -> Option<&TensorSource> {
        self.replaced.get(name)
    }

    /// What is added to a tensor of the base.
    pub fn low_rank(&mut self, model: &Model, name: &str) -> Result<Option<LowRank>, AdapterError> {
        let module = name.strip_suffix(".weight").and_then(|module| model.architecture.hf_module(module));
        let Some(module) = module else { return Ok(None) };
        let weight = &model.tensors[name];
        let is_linear = is_weight(Weight { name, shape: &weight.shape }) && module != "model.embed_tokens";
        let low_rank = self.adapter.low_rank(&module, (weight.rows(), weight.columns()), is_linear)?;
        self.used.insert(module);
        Ok(low_rank)
    }

    /// Refuses tensors that no module of the base took; to be called when all were asked for.
    pub fn check_all_used(&self, model: &Model) -> Result<(), AdapterError> {
        // The LoRA of a tied head is the embedding's: this was checked.
        let is_mirror = |module: &str| model.is_tied && module == "lm_head";
        let is_unused = |module: &&str| !self.used.contains(*module) && !is_mirror(module);
        let unused: Vec<String> = self.adapter.modules().filter(is_unused).map(str::to_owned).collect();
        if unused.is_empty() { Ok(()) } else { Err(AdapterError::UnusedTensors(unused)) }
    }
}

/// The whole tensors of an adapter that are not the base's, by GGUF name.
fn replacements(
    adapter: &Adapter,
    model: &mut Model,
) -> Result<BTreeMap<String, TensorSource>, ConvertError> {
    let mut replaced = BTreeMap::new();
    let mut unused = Vec::new();
    for (name, source) in &adapter.replaced {
        let module = name.strip_suffix(".weight").and_then(|m| model.architecture.gguf_module(m));
        let gguf_name = module.map(|module| format!("{module}.weight"));
        match gguf_name.and_then(|name| model.tensors.get_key_value(&name)) {
            Some((gguf_name, tensor)) => {
                check_replacement(name, source, tensor)?;
                replaced.insert(gguf_name.clone(), source.clone());
            }
            // Looked at with the embedding.
            None if name == "lm_head.weight" && model.is_tied => {}
            None => unused.push(name.clone()),
        }
    }
    if !unused.is_empty() {
        return Err(AdapterError::UnusedTensors(unused).into());
    }
    for (module, name) in [("model.embed_tokens", EMBEDDING), ("lm_head", HEAD)] {
        if let Some(copy) = replaced.get(name)
            && !adapter.saves(module)
            && is_copy(adapter, model, module, copy)?
        {
            replaced.remove(name);
            model
                .notes
                .push(format!("the adapter's {module} is the base's own, saved beside it; it is left"));
        }
    }
    Ok(replaced)
}

/// Whether an embedding or a head that was saved beside an adapter, not trained by it, is the base's own.
fn is_copy(
    adapter: &Adapter,
    model: &Model,
    module: &str,
    copy: &TensorSource,
) -> Result<bool, ConvertError> {
    let base = &model.tensors[if module == "lm_head" { HEAD } else { EMBEDDING }];
    if same_numbers(copy, base)? {
        return Ok(true);
    }
    let is_quantised = base.tensor_type.is_quantised();
    // LoRA goes onto the copy then, which is more exact than the base's.
    if is_quantised && adapter.has_lora(module) {
        return Ok(false);
    }
    // With the same head beside it, the whole vocabulary was changed.
    if let Some(head) =
        adapter.replaced.get("lm_head.weight").filter(|_| module != "lm_head" && model.is_tied)
        && head.shape == copy.shape
        && same_numbers(head, copy)?
    {
        return Ok(false);
    }
    if module == "lm_head" {
        return Ok(false);
    }
    let advice = if is_quantised { " (this one is quantised: take the checkpoint)" } else { "" };
    Err(AdapterError::OtherEmbedding(advice).into())
}

/// Refuses an adapter that lacks a tensor of `modules_to_save`.
fn check_saved(adapter: &Adapter, model: &Model) -> Result<(), AdapterError> {
    let has = |module: &str| adapter.replaced.contains_key(&format!("{module}.weight"));
    let names = model.tensors.keys().filter_map(|name| name.strip_suffix(".weight"));
    let modules = names.filter_map(|module| model.architecture.hf_module(module));
    for module in modules {
        // Tied in training, one of them stands for both.
        let is_for_both =
            adapter.config.ensure_weight_tying && module == "model.embed_tokens" && has("lm_head");
        if adapter.saves(&module) && !has(&module) && !is_for_both {
            return Err(AdapterError::MissingSaved(module));
        }
    }
    let is_for_both = adapter.config.ensure_weight_tying && has("model.embed_tokens");
    if model.is_tied && adapter.saves("lm_head") && !has("lm_head") && !is_for_both {
        return Err(AdapterError::MissingSaved("lm_head".to_owned()));
    }
    Ok(())
}
