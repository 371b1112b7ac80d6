//! The plan of a conversion, made from headers only: which tensors the file will have, of which
//! type, where each comes from and what happens to it on the way.

mod adapted;
mod head;
pub(super) mod model;

use std::collections::BTreeMap;
use std::ops::Range;

use self::adapted::Adapted;
use self::model::Model;
use crate::convert::arch::Architecture;
use crate::convert::error::ConvertError;
use crate::convert::input::checkpoint::Checkpoint;
use crate::convert::input::gguf_base::GgufBase;
use crate::convert::input::tensor::TensorSource;
use crate::convert::merge::adapter::Adapter;
use crate::convert::merge::lora::LowRank;
use crate::convert::parts;
use crate::convert::quantise::imatrix::{Imatrix, ImatrixError};
use crate::convert::quantise::mixture::{Mixture, Weight, choose_types, tensor_order};
use crate::convert::quantise::pad::{Padding, padded_width};
use crate::convert::quantise::smooth::{Smoother, Smoothing};
use crate::gguf::tensor_type::{FileType, TensorType};
use crate::gguf::{Header, TensorInfo, Value};

/// Whether 1 is added to a tensor, as llama.cpp has Gemma's norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddOne {
    /// It stays as it is.
    No,
    /// In F32.
    InF32,
    /// In F16, as llama.cpp's converter does where the base has the tensor in it: the sum is rounded.
    InF16,
}

/// One tensor of the result.
#[derive(Debug)]
pub struct PlannedTensor {
    /// Its name, shape, type and place in the result.
    pub info: TensorInfo,
    /// Where its numbers come from: the base, or the adapter that replaces it.
    pub source: TensorSource,
    /// What the adapter adds to it.
    pub low_rank: Option<LowRank>,
    /// Whether `source` is the adapter's own tensor.
    pub is_replaced: bool,
    /// Whether 1 is added (Gemma's norms).
    pub add_one: AddOne,
    /// What its rows and columns are multiplied by.
    pub smoothing: Option<Smoothing>,
    /// How it is widened.
    pub padding: Option<Padding>,
    /// What each column is worth to the quantiser.
    pub importance: Option<Vec<f32>>,
}

impl PlannedTensor {
    /// Whether the stored bytes are those of the base.
    pub fn is_copy(&self) -> bool {
        let is_same = self.low_rank.is_none() && self.add_one == AddOne::No;
        let is_plain = self.smoothing.is_none() && self.padding.is_none();
        is_same && is_plain && self.source.tensor_type == self.info.tensor_type
    }

    /// Whether numbers of a quantised base are rounded a second time.
    pub fn is_requantised(&self) -> bool {
        let is_exact = self.is_copy() || self.info.tensor_type == TensorType::F32;
        self.source.tensor_type.is_quantised() && !is_exact
    }
}

/// What will be written.
#[derive(Debug)]
pub struct Plan {
    /// The result's architecture.
    pub architecture: Architecture,
    /// The result's type.
    pub file_type: FileType,
    /// The result's header, as of one file.
    pub header: Header,
    /// Which tensors are in which file; one range if the result is not split.
    pub parts: Vec<Range<usize>>,
    /// The result's tensors, in file order.
    pub tensors: Vec<PlannedTensor>,
    /// Whether the base was quantised, so that merging rounds a second time.
    pub base_is_quantised: bool,
    /// The base's hidden width, if the result's is padded.
    pub padded_from: Option<u32>,
    /// Whether the result's tensors are rescaled, by this conversion or by an earlier one.
    pub is_smoothed: bool,
    /// What is taken, and what is left out and why, a sentence each.
    pub notes: Vec<String>,
}

impl Plan {
    /// The headers of the result's files.
    pub fn headers(&self) -> Vec<Header> {
        parts::headers(&self.header, &self.parts)
    }

    /// The result's size, of all its files, in bytes.
    pub fn file_size(&self) -> u64 {
        self.headers().iter().map(Header::file_size).sum()
    }

    /// Names of the tensors that get a LoRA update.
    pub fn merged(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|t| t.low_rank.is_some()).map(|t| t.info.name.as_str())
    }

    /// Names of the tensors that the adapter puts in place of the base's.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|t| t.is_replaced).map(|t| t.info.name.as_str())
    }

    /// How many tensors the adapter updates or replaces.
    pub fn changed(&self) -> usize {
        self.tensors.iter().filter(|t| t.low_rank.is_some() || t.is_replaced).count()
    }

    /// Tensors and bytes of each type.
    pub fn by_type(&self) -> BTreeMap<TensorType, (u64, u64)> {
        let mut types = BTreeMap::new();
        for tensor in &self.tensors {
            let (count, bytes) = types.entry(tensor.info.tensor_type).or_insert((0, 0));
            *count += 1;
            *bytes += tensor.info.bytes();
        }
        types
    }
}

/// Plans the conversion of a checkpoint.
///
/// # Errors
/// Where the base or the adapter is not understood, incomplete, or they do not fit.
pub fn plan_checkpoint(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    mixture: Mixture,
) -> Result<Plan, ConvertError> {
    plan(Model::of_checkpoint(checkpoint)?, adapter, mixture)
}

/// Plans the conversion of a GGUF file.
///
/// # Errors
/// As [`plan_checkpoint`].
pub fn plan_gguf(base: &GgufBase, adapter: Option<&Adapter>, mixture: Mixture) -> Result<Plan, ConvertError> {
    plan(Model::of_gguf(base)?, adapter, mixture)
}

fn plan(mut model: Model, adapter: Option<&Adapter>, mixture: Mixture) -> Result<Plan, ConvertError> {
    let adapted = adapter.map(|adapter| Adapted::new(adapter, &mut model)).transpose()?;
    let header = header(&model, mixture)?;
    let tensors = tensors(&model, adapted, mixture, &header)?;
    if let Some(imatrix) = mixture.imatrix
        && !imatrix.weights.keys().any(|name| model.tensors.contains_key(name))
    {
        return Err(ImatrixError::NoTensor(imatrix.path.clone()).into());
    }
    let width = model.width()?;
    let is_padded = mixture.pad && padded_width(width) != width;
    Ok(Plan {
        architecture: model.architecture,
        file_type: mixture.file_type,
        parts: parts::ranges(&header, None),
        header,
        tensors,
        base_is_quantised: model.tensors.values().any(|t| t.tensor_type.is_quantised()),
        padded_from: is_padded.then_some(width).or(model.padded_from).map(|width| width as u32),
        is_smoothed: mixture.smooth || model.is_smoothed,
        notes: model.notes,
    })
}

/// How a tensor of the base is widened.
fn padding_of(model: &Model, mixture: Mixture, name: &str) -> Result<Option<Padding>, ConvertError> {
    Ok(if mixture.pad { Padding::of(name, model.width()?, model.is_tied) } else { None })
}

/// The result's header: the base's metadata, and the tensors in file order.
fn header(model: &Model, mixture: Mixture) -> Result<Header, ConvertError> {
    let mut names: Vec<&String> = model.tensors.keys().collect();
    names.sort_by(|a, b| tensor_order(a).cmp(&tensor_order(b)));
    let shape_of = |name: &&String| {
        let shape = &model.tensors[*name].shape;
        let padding = padding_of(model, mixture, name)?;
        Ok(padding.map_or_else(|| shape.clone(), |padding| padding.shape(shape)))
    };
    let shapes: Vec<Vec<u64>> = names.iter().map(shape_of).collect::<Result<_, ConvertError>>()?;
    let weights: Vec<Weight> =
        names.iter().zip(&shapes).map(|(name, shape)| Weight { name, shape }).collect();
    let types = choose_types(mixture, &weights, model.n_layers()?)?;
    let infos = names.iter().zip(&shapes).zip(&types).map(|((name, shape), &tensor_type)| TensorInfo {
        name: (*name).clone(),
        shape: shape.clone(),
        tensor_type,
        offset: 0,
    });
    let width = model.width()?;
    let padded = if mixture.pad { padded_width(width) } else { width };
    let mut metadata = model.metadata.clone();
    metadata.set("general.quantization_version", Value::U32(2));
    metadata.set("general.file_type", Value::U32(mixture.file_type.id()));
    if padded != width {
        metadata.set(model.width_key(), Value::U32(padded as u32));
    }
    if let Some(imatrix) = mixture.imatrix {
        if !mixture.file_type.default_type().is_quantised() {
            return Err(ImatrixError::NotQuantised(imatrix.path.clone()).into());
        }
        imatrix.describe(&mut metadata);
    }
    Ok(Header::new(metadata, infos.collect()))
}

/// The result's tensors, in file order.
fn tensors(
    model: &Model,
    mut adapted: Option<Adapted>,
    mixture: Mixture,
    header: &Header,
) -> Result<Vec<PlannedTensor>, ConvertError> {
    let smoother = smoother(model, mixture)?;
    let mut tensors = Vec::new();
    for info in &header.tensors {
        let of_base = &model.tensors[&info.name];
        let low_rank = match &mut adapted {
            Some(adapted) => adapted.low_rank(model, &info.name)?,
            None => None,
        };
        let replacement = adapted.as_ref().and_then(|adapted| adapted.replacement(&info.name));
        let source = replacement.unwrap_or(of_base);
        let smoothing = smoother.as_ref().map(|s| s.of(&info.name)).transpose()?.flatten();
        let importance = mixture.imatrix.map(|i| importance_of(i, info, source)).transpose()?.flatten();
        tensors.push(PlannedTensor {
            info: info.clone(),
            source: source.clone(),
            low_rank,
            is_replaced: replacement.is_some(),
            add_one: match of_base.tensor_type {
                _ if !model.architecture.adds_one(&info.name) => AddOne::No,
                _ if !model.is_checkpoint && replacement.is_none() => AddOne::No,
                TensorType::F16 => AddOne::InF16,
                _ => AddOne::InF32,
            },
            importance: importance.map(|row| match &smoothing {
                Some(smoothing) => smoothing.weigh(row),
                None => row,
            }),
            smoothing,
            padding: padding_of(model, mixture, &info.name)?,
        });
    }
    if let Some(adapted) = &adapted {
        adapted.check_all_used(model)?;
    }
    Ok(tensors)
}

fn smoother<'a>(model: &'a Model, mixture: Mixture<'a>) -> Result<Option<Smoother<'a>>, ConvertError> {
    if !mixture.smooth {
        return Ok(None);
    }
    let imatrix = mixture.imatrix.ok_or(ImatrixError::Needed)?;
    let key = format!("{}.attention.head_count_kv", model.architecture);
    let n_head_kv = model.metadata.require_u64(&key)?.max(1) as usize;
    Ok(Some(Smoother::new(imatrix, &model.tensors, n_head_kv)))
}

/// The importance of the columns of one quantised tensor; columns of padding are worth nothing.
fn importance_of(
    imatrix: &Imatrix,
    info: &TensorInfo,
    source: &TensorSource,
) -> Result<Option<Vec<f32>>, ImatrixError> {
    if !info.tensor_type.is_quantised() {
        return Ok(None);
    }
    let row = imatrix.of(&info.name, source.columns())?;
    Ok(row.map(|row| {
        let mut row = row.to_vec();
        row.resize(info.columns() as usize, 0.0);
        row
    }))
}
