//! Changes to a model's header that a loader may stumble over.

use ko_sentiment::gguf::tensor_type::TensorType;
use ko_sentiment::gguf::{Array, Header, Value, check};

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// A value that a loader may stumble over.
fn value(random: &mut Random) -> Value {
    let n = random.pick(&[
        0u32,
        1,
        2,
        3,
        4,
        6,
        7,
        8,
        16,
        31,
        32,
        63,
        64,
        65,
        255,
        256,
        257,
        512,
        513,
        1024,
        1 << 16,
        1 << 31,
        u32::MAX,
    ]);
    let x = random.pick(&[
        0.0f32,
        -0.0,
        -1.0,
        1.0,
        1e-6,
        1e-45,
        0.5,
        8.0,
        1e30,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ]);
    let text = random.pick(&[
        "", "linear", "none", "yarn", "longrope", "llama", "gpt2", "bert", "gemma2", "gemma3", "<mask>",
        "phi-3",
    ]);
    match random.below(12) {
        0..=4 => Value::U32(n),
        5 | 6 => Value::F32(x),
        7 => Value::Str(text.to_owned()),
        8 => Value::Bool(n.is_multiple_of(2)),
        9 => Value::Array(Array::from_i32s(&vec![n as i32; random.below(5)])),
        10 => Value::U64(n.into()),
        _ => Value::Array(Array::from_f32s(&vec![x; random.below(5)])),
    }
}

/// A key that the loader reads, present or not.
fn key(random: &mut Random, header: &Header) -> String {
    let architecture = header.architecture().unwrap_or("gemma2").to_owned();
    let known = random.pick(&[
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.key_length_swa",
        "attention.value_length_swa",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "attention.causal",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope.freq_base",
        "rope.freq_base_swa",
        "rope.dimension_count",
        "rope.dimension_count_swa",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
        "expert_count",
        "expert_used_count",
        "expert_group_count",
        "expert_group_used_count",
        "nextn_predict_layers",
        "pooling_type",
        "classifier.pooling_type",
        "embedding_length_out",
        "classifier.output_labels",
        "dense_2_feat_out",
        "dense_3_feat_in",
    ]);
    let present: Vec<&str> = header.metadata.iter().map(|(key, _)| key).collect();
    match random.below(4) {
        0 => present[random.below(present.len())].to_owned(),
        1 => random
            .pick(&[
                "general.alignment",
                "split.count",
                "split.no",
                "general.tensor_extra.name",
                "tokenizer.ggml.suppress_tokens",
                "tokenizer.ggml.eot_token_id",
                "tokenizer.ggml.token_type_count",
                "tokenizer.ggml.pre",
                "tokenizer.chat_template",
                "general.file_type",
            ])
            .to_owned(),
        _ => format!("{architecture}.{known}"),
    }
}

/// Changes the vocabulary in one place.
fn change_tokens(random: &mut Random, header: &mut Header) {
    let key = "tokenizer.ggml.tokens";
    let Some(tokens) = header.metadata.get(key).and_then(Value::as_array) else { return };
    let mut texts: Vec<Vec<u8>> = tokens.strings().map(<[u8]>::to_vec).collect();
    // An earlier change may have left none.
    if texts.is_empty() {
        return;
    }
    let (at, from) = (random.below(texts.len()), random.below(texts.len()));
    match random.below(6) {
        0 => texts.swap(at, from),
        1 => texts[at] = texts[from].clone(),
        2 => texts[at].clear(),
        3 => {
            texts[at] = random
                .pick(&[&b"<0xFF>"[..], b"<0x", b"\xff", b"a\0b", b"[EMPTY_7]", b"</s>", b"<|end|>"])
                .to_vec()
        }
        4 => texts.truncate(at),
        _ => texts[at].extend(vec![b'a'; random.below(9000)]),
    }
    header.metadata.set(key, Value::Array(Array::from_strings(texts)));
}

fn change_types(random: &mut Random, header: &mut Header) {
    let key = "tokenizer.ggml.token_type";
    let Some(types) = header.metadata.get(key).and_then(Value::as_array) else { return };
    let mut types: Vec<i32> = types.i32s().collect();
    if types.is_empty() {
        return;
    }
    let at = random.below(types.len());
    types[at] = random.pick(&[0, 1, 2, 3, 4, 5, 6, 7, -1]);
    header.metadata.set(key, Value::Array(Array::from_i32s(&types)));
}

fn change_tensor(random: &mut Random, header: &mut Header) {
    let at = random.below(header.tensors.len());
    let other = header.tensors[random.below(header.tensors.len())].clone();
    match random.below(5) {
        0 => header.tensors[at].name = other.name,
        1 => header.tensors[at].shape = other.shape,
        2 => header.tensors[at].shape.reverse(),
        3 => header.tensors[at].tensor_type = random.pick(&TensorType::ALL),
        _ => drop(header.tensors.remove(at)),
    }
}

/// The bytes of a header after one to three changes; none if the check refuses it before it is even written.
pub fn changed(random: &mut Random, whole: &Header) -> Option<Vec<u8>> {
    let mut header = whole.clone();
    for _ in 0..=random.below(3) {
        match random.below(8) {
            0 => change_tokens(random, &mut header),
            1 => change_types(random, &mut header),
            2 => change_tensor(random, &mut header),
            3 => {
                let gone = key(random, &header);
                header.metadata.remove(|key| key == gone);
            }
            _ => {
                let (key, value) = (key(random, &header), value(random));
                header.metadata.set(key, value);
            }
        }
    }
    let flips = random.below(5) == 0;
    if !flips && check::header(&header).is_err() {
        return None;
    }
    let mut bytes = header.encode();
    if flips {
        let at = random.below(bytes.len());
        bytes[at] = random.next() as u8;
    }
    Some(bytes)
}
