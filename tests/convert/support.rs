//! The tiny Gemma 2 of `fixtures/make_convert_goldens.py`: the same numbers from the same names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use half::bf16;
use ko_sentiment::convert::merge::adapter::Adapter;
use ko_sentiment::convert::plan::Plan;
use ko_sentiment::convert::quantise::imatrix::Imatrix;
use ko_sentiment::convert::quantise::mixture::Mixture;
use ko_sentiment::convert::quantise::type_override::TypeOverride;
use ko_sentiment::convert::write::Control;
use ko_sentiment::convert::{self, Base, ConvertError, Request, Summary};
use ko_sentiment::gguf::Header;
use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::sentiment::profile::{DEFAULT_TOML, Profile};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A tensor of the checkpoint or of an adapter.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub name: String,
    pub shape: Vec<usize>,
    dtype: String,
    pub scale: f32,
    #[serde(default)]
    offset: f32,
    /// Whether the numbers are those of the transposed shape, transposed.
    #[serde(default)]
    transposed: bool,
    /// Its name in the file, where that is another one.
    saved_as: Option<String>,
}

impl Entry {
    pub fn file_name(&self) -> &str {
        self.saved_as.as_deref().unwrap_or(&self.name)
    }

    /// Splitmix64 of FNV-1a(name), as `numbers` in the script.
    pub fn numbers(&self) -> Vec<f32> {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let seed = self.name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
        let number = |i: usize| {
            let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            let unit = (z >> 40) as f32 * 2f32.powi(-23) - 1.0;
            unit * self.scale + self.offset
        };
        let place = |i: usize| match self.shape[..] {
            [rows, columns] if self.transposed => i % columns * rows + i / columns,
            _ => i,
        };
        (0..self.shape.iter().product()).map(|i| number(place(i))).collect()
    }

    pub fn tensor(&self) -> Tensor {
        let numbers = self.numbers();
        match self.dtype.as_str() {
            "BF16" => Tensor::bf16(self.file_name(), &self.shape, &numbers),
            _ => Tensor::f32(self.file_name(), &self.shape, &numbers),
        }
    }
}

/// A tensor to be written.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn f32(name: &str, shape: &[usize], numbers: &[f32]) -> Self {
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        Self { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::F32, bytes }
    }

    pub fn bf16(name: &str, shape: &[usize], numbers: &[f32]) -> Self {
        let bytes = numbers.iter().flat_map(|n| bf16::from_f32(*n).to_le_bytes()).collect();
        Self { name: name.to_owned(), shape: shape.to_vec(), dtype: Dtype::BF16, bytes }
    }
}

impl Tensor {
    /// The first `to` of every dimension that has `from`.
    pub fn narrowed(&self, from: usize, to: usize) -> Self {
        let narrow = |n: usize| if n == from { to } else { n };
        let columns = self.shape.last().copied().unwrap();
        let rows = self.shape[..self.shape.len() - 1].iter().product::<usize>();
        let size = self.bytes.len() / (rows * columns);
        let kept_rows = if self.shape.len() == 1 { 1 } else { narrow(rows) };
        let bytes = self.bytes.chunks(columns * size).take(kept_rows);
        let bytes = bytes.flat_map(|row| &row[..narrow(columns) * size]).copied().collect();
        Self { shape: self.shape.iter().map(|n| narrow(*n)).collect(), bytes, ..self.clone() }
    }
}

pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/convert").join(path)
}

pub fn fixture_json(path: &str) -> Json {
    serde_json::from_slice(&fs::read(fixture(path)).unwrap()).unwrap()
}

pub fn fixture_f32s(path: &str) -> Vec<f32> {
    let bytes = fs::read(fixture(path)).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

pub fn entries(path: &str) -> Vec<Entry> {
    serde_json::from_value(fixture_json(path)).unwrap()
}

pub fn write_safetensors(path: &Path, tensors: &[Tensor]) {
    let views = tensors
        .iter()
        .map(|t| (t.name.as_str(), TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The checkpoint in a folder of its own, to be broken at will.
pub struct Checkpoint {
    dir: TempDir,
    pub tensors: Vec<Tensor>,
    pub config: Json,
}

impl Checkpoint {
    /// The tiny Gemma 2.
    pub fn tiny() -> Self {
        Self::of("checkpoint")
    }

    /// The checkpoint of a fixture's folder, `checkpoint` or `gemma3`.
    pub fn of(folder: &str) -> Self {
        let tensors = entries(&format!("{folder}/tensors.json")).iter().map(Entry::tensor).collect();
        let config = fixture_json(&format!("{folder}/config.json"));
        Self { dir: tempfile::tempdir().unwrap(), tensors, config }
    }

    /// Gemma 2 of `n_layers` layers, with the first layer's weights in each.
    pub fn with_layers(n_layers: usize) -> Self {
        let mut checkpoint = Self::tiny();
        checkpoint.config["num_hidden_layers"] = json!(n_layers);
        checkpoint.config["layer_types"] = Json::Null;
        let (layers, mut rest): (Vec<_>, Vec<_>) =
            checkpoint.tensors.into_iter().partition(|t| t.name.starts_with("model.layers."));
        let first: Vec<_> = layers.into_iter().filter(|t| t.name.starts_with("model.layers.0.")).collect();
        for layer in 0..n_layers {
            rest.extend(first.iter().cloned().map(|mut tensor| {
                tensor.name = tensor.name.replace("layers.0.", &format!("layers.{layer}."));
                tensor
            }));
        }
        checkpoint.tensors = rest;
        checkpoint
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap()
    }

    /// Writes everything: three shards, their index, the configuration, the tokenizer.
    pub fn write(&self) -> &Path {
        let mut map = BTreeMap::new();
        let size = self.tensors.len().div_ceil(3);
        for (i, shard) in self.tensors.chunks(size).enumerate() {
            let file = format!("model-{:05}-of-00003.safetensors", i + 1);
            write_safetensors(&self.path().join(&file), shard);
            map.extend(shard.iter().map(|t| (t.name.clone(), file.clone())));
        }
        self.write_json("model.safetensors.index.json", &json!({"metadata": {}, "weight_map": map}));
        self.write_json("config.json", &self.config);
        for file in ["tokenizer.model", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            fs::copy(fixture("checkpoint").join(file), self.path().join(file)).unwrap();
        }
        self.path()
    }

    pub fn write_json(&self, file: &str, value: &Json) {
        fs::write(self.path().join(file), value.to_string()).unwrap();
    }
}

/// An adapter in a folder of its own.
pub struct AdapterFolder {
    dir: TempDir,
    pub tensors: Vec<Tensor>,
    pub config: Json,
}

impl AdapterFolder {
    pub fn of(kind: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            tensors: entries(&format!("{kind}/tensors.json")).iter().map(Entry::tensor).collect(),
            config: fixture_json(&format!("{kind}/adapter_config.json")),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self) -> &Path {
        write_safetensors(&self.path().join("adapter_model.safetensors"), &self.tensors);
        fs::write(self.path().join("adapter_config.json"), self.config.to_string()).unwrap();
        self.path()
    }
}

pub const WIDE: usize = 256;
pub const NARROW: usize = 192;

/// A tiny checkpoint, of a width that K-quants do not take.
pub fn narrow(folder: &str) -> Checkpoint {
    let mut checkpoint = Checkpoint::of(folder);
    checkpoint.tensors.iter_mut().for_each(|tensor| *tensor = tensor.narrowed(WIDE, NARROW));
    for key in ["hidden_size", "intermediate_size"] {
        checkpoint.config[key] = NARROW.into();
    }
    checkpoint
}

/// What a test converts.
pub struct Job<'a> {
    pub base: &'a Path,
    pub adapter: Option<&'a Path>,
    pub text_only: bool,
    pub split_max_size: Option<u64>,
    pub file_type: FileType,
    pub overrides: Vec<TypeOverride>,
    pub pad: bool,
    pub imatrix: Option<&'a Path>,
    pub smooth: bool,
    pub out: &'a Path,
    pub force: bool,
}

impl<'a> Job<'a> {
    pub fn new(base: &'a Path, file_type: FileType, out: &'a Path) -> Self {
        Self {
            base,
            adapter: None,
            text_only: false,
            split_max_size: None,
            file_type,
            overrides: Vec::new(),
            pad: false,
            imatrix: None,
            smooth: false,
            out,
            force: false,
        }
    }

    /// With `--tensor-type` as on the command line.
    pub fn with_types(self, overrides: &[&str]) -> Self {
        Self { overrides: overrides.iter().map(|o| o.parse().unwrap()).collect(), ..self }
    }

    pub fn with_adapter(self, adapter: &'a Path) -> Self {
        Self { adapter: Some(adapter), ..self }
    }

    pub fn run(&self) -> Result<Summary, ConvertError> {
        let cancel = AtomicBool::new(false);
        self.run_with(Control { threads: 2, cancel: &cancel, progress: &|_| {} })
    }

    pub fn run_with(&self, control: Control) -> Result<Summary, ConvertError> {
        self.planned(|plan, request| convert::convert(plan, request, self.out, self.force, control))
    }

    /// What would be written.
    pub fn plan(&self) -> Result<Plan, ConvertError> {
        self.planned(|plan, _| Ok(plan))
    }

    fn planned<T>(
        &self,
        then: impl Fn(Plan, &Request) -> Result<T, ConvertError>,
    ) -> Result<T, ConvertError> {
        let profile = Profile::from_toml(DEFAULT_TOML)?;
        let base = Base::open(self.base)?;
        let adapter = self.adapter.map(|dir| Adapter::open(dir, self.text_only)).transpose()?;
        let imatrix = self.imatrix.map(Imatrix::open).transpose()?;
        let request = Request {
            base: &base,
            base_name: "test/tiny-gemma-2",
            adapter: adapter.as_ref(),
            adapter_name: adapter.as_ref().map(|_| "test/adapter"),
            profile: &profile,
            mixture: Mixture {
                file_type: self.file_type,
                overrides: &self.overrides,
                pad: self.pad,
                imatrix: imatrix.as_ref(),
                smooth: self.smooth,
            },
            split_max_size: self.split_max_size,
        };
        then(convert::plan(&request)?, &request)
    }
}

/// A result of a test's conversion.
pub struct Converted {
    pub header: Header,
    bytes: Vec<u8>,
}

impl Converted {
    pub fn read(path: &Path) -> Self {
        Self { header: Header::read(path).unwrap(), bytes: fs::read(path).unwrap() }
    }

    pub fn data(&self, name: &str) -> &[u8] {
        let tensor = self.header.tensors.iter().find(|t| t.name == name).unwrap();
        let start = (self.header.data_start + tensor.offset) as usize;
        &self.bytes[start..start + tensor.bytes() as usize]
    }
}

/// The logits after `tokens`, in llama.cpp.
pub fn logits(path: &Path, tokens: &[i32]) -> Vec<f32> {
    let backend = ko_sentiment::llama::backend::backend().unwrap();
    let model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default()).unwrap();
    let mut context = model.new_context(backend, LlamaContextParams::default()).unwrap();
    let mut batch = LlamaBatch::new(tokens.len(), 1);
    for (i, token) in tokens.iter().enumerate() {
        batch.add(LlamaToken::new(*token), i as i32, &[0], i + 1 == tokens.len()).unwrap();
    }
    context.decode(&mut batch).unwrap();
    context.get_logits_ith(batch.n_tokens() - 1).to_vec()
}

/// The largest difference of two lists of logits.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
