//! Each kind of adapter against PEFT's `merge_and_unload`.

use std::collections::BTreeMap;

use ko_sentiment::gguf::tensor_type::FileType;

use sha2::{Digest, Sha256};

use super::support::{
    AdapterFolder, Checkpoint, Converted, Job, fixture_f32s, fixture_json, largest_difference, logits,
};

const KINDS: [&str; 7] = ["lora", "rslora", "patterns", "dora", "saved", "embedding", "layers"];

fn decode(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Converted to F32: the changed rows are PEFT's up to rounding, the others are the base's, and the
/// model computes what the merged one computes in transformers.
#[test]
fn merged_weights_are_those_of_peft() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let plain_path = base.join("plain.gguf");
    Job::new(base, FileType::F32, &plain_path).run().unwrap();
    let plain = Converted::read(&plain_path);
    let prompt: Vec<i32> = serde_json::from_value(fixture_json("prompt.json")).unwrap();
    for kind in KINDS {
        let adapter = AdapterFolder::of(kind);
        let out = base.join(format!("{kind}.gguf"));
        Job::new(base, FileType::F32, &out).with_adapter(adapter.write()).run().unwrap();
        let merged = Converted::read(&out);
        let rows: BTreeMap<String, BTreeMap<usize, String>> =
            serde_json::from_value(fixture_json(&format!("{kind}/rows.json"))).unwrap();
        for tensor in &plain.header.tensors {
            let changed = plain.data(&tensor.name) != merged.data(&tensor.name);
            assert_eq!(changed, rows.contains_key(&tensor.name), "{kind}: {}", tensor.name);
        }
        for (name, rows) in &rows {
            for (row, expect) in rows {
                let expect = f32s(&decode(expect));
                let found = f32s(merged.data(name));
                let difference = largest_difference(&found[row * expect.len()..][..expect.len()], &expect);
                assert!(difference < 2e-7, "{kind}: row {row} of {name} differs by {difference}");
            }
        }
        let difference =
            largest_difference(&logits(&out, &prompt), &fixture_f32s(&format!("{kind}/logits.bin")));
        assert!(difference < 0.01, "{kind}: logits differ by {difference}");
    }
}

/// Quantised: at least 99.9 % of the blocks are those of PEFT, llama.cpp's converter and
/// llama-quantize one after the other.
#[test]
fn quantised_blocks_are_those_of_the_long_way() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    for kind in KINDS {
        let adapter = AdapterFolder::of(kind);
        let out = base.join(format!("{kind}.gguf"));
        Job::new(base, FileType::Q4KM, &out).with_adapter(adapter.write()).run().unwrap();
        let merged = Converted::read(&out);
        let golden: BTreeMap<String, (String, usize, String)> =
            serde_json::from_value(fixture_json(&format!("{kind}/blocks.json"))).unwrap();
        let (mut same, mut all) = (0, 0);
        for (name, (tensor_type, size, hashes)) in &golden {
            let tensor = merged.header.tensors.iter().find(|t| &t.name == name).unwrap();
            assert_eq!(&tensor.tensor_type.to_string(), tensor_type, "{kind}: {name}");
            if !tensor.tensor_type.is_quantised() {
                continue;
            }
            let hashes = decode(hashes);
            let blocks = merged.data(name).chunks(*size);
            assert_eq!(blocks.len() * 4, hashes.len());
            for (block, hash) in blocks.zip(hashes.chunks(4)) {
                same += u32::from(Sha256::digest(block).starts_with(hash));
                all += 1;
            }
        }
        let share = f64::from(same) / f64::from(all);
        assert!(share >= 0.999, "{kind}: {same} of {all} blocks are the same");
    }
}

/// What PEFT calls other names for the same adapter.
#[test]
fn equal_configurations_give_equal_bytes() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let convert = |change: &dyn Fn(&mut serde_json::Value), name: &str| {
        let mut adapter = AdapterFolder::of("lora");
        change(&mut adapter.config);
        let out = base.join(format!("{name}.gguf"));
        Job::new(base, FileType::Q4KM, &out).with_adapter(adapter.write()).run().unwrap();
        let converted = Converted::read(&out);
        let data = |name: &str| converted.data(name).to_vec();
        converted.header.tensors.iter().map(|t| data(&t.name)).collect::<Vec<_>>()
    };
    let expect = convert(&|_| {}, "list");
    let cases: [(&str, &dyn Fn(&mut serde_json::Value)); 4] = [
        ("all-linear", &|c| c["target_modules"] = "all-linear".into()),
        ("regex", &|c| c["target_modules"] = r"model\.layers\.\d+\.(self_attn|mlp)\.[a-z]+_proj".into()),
        ("fan_in_fan_out", &|c| c["fan_in_fan_out"] = true.into()),
        ("alpha", &|c| {
            c["lora_alpha"] = 99.into();
            c["alpha_pattern"] = serde_json::json!({".*_proj": 16});
        }),
    ];
    for (name, change) in cases {
        assert!(convert(change, name) == expect, "{name}");
    }
}
