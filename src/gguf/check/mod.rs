//! What llama.cpp must not be given: a file is checked here before its loader sees it.
//!
//! The loader trusts a file's metadata: much of what is wrong with it ends the process by an assertion or
//! an exception, now or when a comment comes that shows it. Each file here says which source of the pinned
//! version it mirrors; `tests/hostile` holds their assertions, so that an upgrade shows new ones.

mod error;
mod parts;
mod settings;
mod tensors;
mod vocabulary;

use std::path::Path;

pub use error::CheckError;
pub use parts::{other_parts, others};

use super::{Header, TensorInfo};

/// Reads a model's header, and those of its other parts, and checks all that llama.cpp relies on.
/// Returns the (first) header.
///
/// # Errors
/// Any [`CheckError`].
pub fn file(path: &Path) -> Result<Header, CheckError> {
    let header = Header::read(path)?;
    let others = others(path, &header)?;
    let tensors = others
        .iter()
        .map(|(_, part)| part)
        .chain([&header])
        .flat_map(|part| &part.tensors)
        .collect::<Vec<_>>();
    check(&header, &tensors)?;
    Ok(header)
}

/// As [`file()`], for the header of a model in one file.
///
/// # Errors
/// Any [`CheckError`].
pub fn header(header: &Header) -> Result<(), CheckError> {
    check(header, &header.tensors.iter().collect::<Vec<_>>())
}

fn check(header: &Header, all: &[&TensorInfo]) -> Result<(), CheckError> {
    let settings = settings::check(header)?;
    let tokens = vocabulary::check(&header.metadata)?;
    tensors::check(&settings, tokens, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::tensor_type::TensorType;
    use crate::gguf::{Array, Metadata, Value};

    /// The smallest model of an architecture: one layer, two heads of four, all bytes and three tokens more.
    fn model(architecture: &str) -> Header {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", architecture);
        for (key, n) in [
            ("block_count", 1),
            ("embedding_length", 8),
            ("context_length", 64),
            ("feed_forward_length", 16),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
            ("attention.key_length", 4),
            ("attention.value_length", 4),
            ("attention.sliding_window", 32),
        ] {
            metadata.set(format!("{architecture}.{key}"), Value::U32(n));
        }
        metadata.set(format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::F32(1e-6));
        let texts: Vec<String> = ["<pad>", "<bos>", "가"]
            .map(str::to_owned)
            .into_iter()
            .chain((0..256).map(|byte| format!("<0x{byte:02X}>")))
            .collect();
        let types: Vec<i32> = [3, 3, 1].into_iter().chain([6; 256]).collect();
        metadata.set("tokenizer.ggml.model", "llama");
        metadata.set("tokenizer.ggml.tokens", Value::Array(Array::from_strings(&texts)));
        metadata.set("tokenizer.ggml.token_type", Value::Array(Array::from_i32s(&types)));
        metadata.set("tokenizer.ggml.scores", Value::Array(Array::from_f32s(&[0.0; 259])));
        metadata.set("tokenizer.ggml.bos_token_id", Value::U32(1));
        let tensor = |(name, shape): (String, Vec<u64>)| TensorInfo {
            name,
            shape,
            tensor_type: TensorType::F32,
            offset: 0,
        };
        let header = Header::new(metadata, Vec::new());
        let shapes = settings::check(&header).unwrap();
        let names = tensors::expected(&shapes, 259).into_iter().map(tensor).collect();
        Header::new(header.metadata, names)
    }

    fn change(architecture: &str, act: &dyn Fn(&mut Header), expect: &str) {
        let mut changed = model(architecture);
        act(&mut changed);
        let refusal = header(&changed).unwrap_err().to_string();
        assert!(refusal.contains(expect), "{refusal:?} does not say {expect:?}");
    }

    #[test]
    fn whole_models_pass() {
        for architecture in ["gemma2", "gemma3"] {
            let mut whole = model(architecture);
            header(&whole).unwrap();
            let pattern = format!("{architecture}.attention.sliding_window_pattern");
            for slides in [Value::U32(2), Value::Array(Array::from_bools(&[true]))] {
                whole.metadata.set(&*pattern, slides);
                header(&whole).unwrap();
            }
            // What no loader reads may be anything; what it reads may say the default.
            whole.metadata.set(format!("{architecture}.vision.block_count"), Value::I8(-1));
            whole.metadata.set(format!("{architecture}.pooling_type"), Value::U32(0));
            whole.metadata.set(format!("{architecture}.rope.scaling.type"), "linear");
            whole.metadata.set(format!("{architecture}.rope.scaling.factor"), Value::F32(8.0));
            header(&whole).unwrap();
        }
    }

    #[test]
    fn settings_that_llama_asserts_are_refused() {
        let check = |key: &str, value: Value, expect: &str| {
            change("gemma3", &|h| h.metadata.set(format!("gemma3.{key}"), value.clone()), expect);
        };
        let u32 = Value::U32;
        check("block_count", u32(0), "gemma3.block_count is U32(0); it must be a U32 from 1 to 512");
        check("block_count", u32(513), "from 1 to 512");
        check("block_count", Value::U64(1), "is U64(1)");
        check("block_count", u32(2), "tensor blk.1.attn_q.weight is missing");
        check("embedding_length", u32(9), "has shape [8, 259]; the metadata says [9, 259]");
        check("context_length", u32(0), "context_length");
        check("attention.head_count", u32(0), "attention.head_count");
        check("attention.head_count_kv", u32(0), "attention.head_count_kv");
        check("attention.head_count", Value::Array(Array::from_i32s(&[2])), "is an array of 1 I32");
        check("attention.value_length", u32(2), "from 4 to 4");
        check("attention.key_length_swa", u32(2), "from 4 to 4");
        check("attention.layer_norm_rms_epsilon", Value::F32(-1.0), "is F32(-1.0)");
        check("attention.layer_norm_rms_epsilon", Value::F32(f32::NAN), "is F32(NaN)");
        check("rope.freq_base", Value::F32(0.0), "above 0");
        check("rope.dimension_count", u32(6), "from 2 to 4");
        check("rope.scaling.type", "magic".into(), "is \"magic\"; it must be \"none\" or \"linear\"");
        check("expert_count", u32(2048), "expert_count");
        check("expert_used_count", u32(1), "expert_used_count");
        check("nextn_predict_layers", u32(1), "nextn_predict_layers");
        check("pooling_type", u32(4), "pooling_type");
        check("attention.causal", Value::Bool(false), "attention.causal");
        check(
            "attention.sliding_window_pattern",
            u32(1),
            "is U32(1); it must be a pattern with a sliding layer",
        );
        check(
            "attention.sliding_window_pattern",
            Value::Array(Array::from_bools(&[false])),
            "with a sliding layer",
        );
        change("gemma2", &|h| h.metadata.set("gemma2.attention.sliding_window", u32(0)), "from 1 to");
        change("gemma2", &|h| h.metadata.set("gemma2.final_logit_softcapping", Value::F32(0.0)), "above 0");
        change("gemma3", &|h| h.alignment = 8, "general.alignment");
        change("gemma3", &|h| h.metadata.set("general.architecture", "llama"), "architecture \"llama\"");
    }

    #[test]
    fn vocabularies_that_llama_asserts_are_refused() {
        let texts = |h: &Header| -> Vec<Vec<u8>> {
            let tokens = h.metadata.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap();
            tokens.strings().map(<[u8]>::to_vec).collect()
        };
        let token = |id: usize, text: &[u8], expect: &str| {
            let act = |h: &mut Header| {
                let mut all = texts(h);
                all[id] = text.to_vec();
                h.metadata.set("tokenizer.ggml.tokens", Value::Array(Array::from_strings(all)));
            };
            change("gemma3", &act, expect);
        };
        token(2, b"<pad>", "token 2 of the vocabulary, \"<pad>\", is there twice");
        token(2, b"<pad>\0x", "zero byte");
        token(2, b"\xff", "not UTF-8");
        token(3, b"<0x0g>", "of the type of bytes and is none");
        token(2, b"<0x41>", "a byte and not of that type");
        token(3 + 0xF0, b"gone", "of the type of bytes and is none");
        let set = |key: &str, value: Value, expect: &str| {
            change("gemma3", &|h| h.metadata.set(format!("tokenizer.ggml.{key}"), value.clone()), expect);
        };
        set("model", "gpt2".into(), "it must be \"llama\"");
        set("tokens", Value::Array(Array::from_i32s(&[1])), "an array of Str");
        set("scores", Value::Array(Array::from_f32s(&[0.0])), "an array of 259 F32");
        set("scores", Value::Array(Array::from_f32s(&[f32::NAN; 259])), "without NaN");
        set("token_type", Value::Array(Array::from_i32s(&[1; 259])), "a byte and not of that type");
        set("bos_token_id", Value::U32(259), "a U32 below 259");
        set("add_bos_token", Value::U32(1), "a boolean");
        let gone = |h: &mut Header| {
            let mut all = texts(h);
            all[3 + 0xF0] = b"gone".to_vec();
            let mut types = vec![3, 3, 1];
            types.extend([6; 256]);
            types[3 + 0xF0] = 1;
            h.metadata.set("tokenizer.ggml.tokens", Value::Array(Array::from_strings(all)));
            h.metadata.set("tokenizer.ggml.token_type", Value::Array(Array::from_i32s(&types)));
        };
        change("gemma3", &gone, "no token for 1 of the 256 bytes, the first <0xF0>");
    }

    #[test]
    fn tensors_are_those_of_the_architecture() {
        let tensor = |name: &str, act: &dyn Fn(&mut TensorInfo), expect: &str| {
            let act = |h: &mut Header| act(h.tensors.iter_mut().find(|t| t.name == name).unwrap());
            change("gemma3", &act, expect);
        };
        tensor(
            "blk.0.ffn_up.weight",
            &|t| t.shape = vec![16, 8],
            "has shape [16, 8]; the metadata says [8, 16]",
        );
        tensor("blk.0.ffn_up.weight", &|t| t.shape.push(2), "has shape [8, 16, 2]");
        tensor("output_norm.weight", &|t| t.name = "norm".into(), "tensor output_norm.weight is missing");
        tensor("output_norm.weight", &|t| t.tensor_type = TensorType::F16, "of type F16");
        let extra = |name: &str| {
            let name = name.to_owned();
            move |h: &mut Header| {
                let mut copy = h.tensors[0].clone();
                copy.name = name.clone();
                h.tensors.push(copy);
            }
        };
        change("gemma3", &extra("blk.0.attn_q.bias"), "tensor blk.0.attn_q.bias is none of gemma3's");
        change("gemma2", &extra("output.weight"), "tensor output.weight is none of gemma2's");
        let mut untied = model("gemma3");
        extra("output.weight")(&mut untied);
        header(&untied).unwrap();
    }
}
