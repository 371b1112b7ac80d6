//! `ko-sentiment inspect`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::run::CliResult;
use super::trial;
use crate::files::hash;
use crate::gguf::{self, Header, check};
use crate::llama::cpu;
use crate::sentiment::profile::{self, Profile, Scaling};
use crate::text::escape::{self, shown};
use crate::text::shown::shown_path;

/// Show what a GGUF file contains.
///
/// For example: ko-sentiment inspect model.gguf
///
/// Prints architecture, quantisation, profile, origin and hash, and the CPU features that would compute it here. A child
/// process loads the model once; if llama.cpp does not survive it, the output says so.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// GGUF file.
    #[arg(value_name = "FILE")]
    model: PathBuf,

    /// Print only the profile (prompt, labels, calibration), as TOML.
    #[arg(long, conflicts_with = "json")]
    profile: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &InspectArgs) -> CliResult {
    let header = Header::read(&args.model).map_err(|e| format!("{}: {e}", shown_path(&args.model)))?;
    let profile = header.metadata.get(profile::METADATA_KEY).and_then(gguf::Value::as_str);
    if args.profile {
        print!("{}", profile.ok_or("the file holds no profile")?);
        return Ok(());
    }
    let facts = facts(&header, &hash::model(&args.model)?);
    let types = types(&header);
    let fault = fault(&args.model);
    let profile = profile.map(Profile::from_toml).transpose()?;
    if args.json {
        let types: Value = types
            .iter()
            .map(|(name, (n, bytes))| (name.clone(), json!({ "tensors": n, "bytes": bytes })))
            .collect();
        let facts: Value = facts.into_iter().collect();
        println!(
            "{}",
            serde_json::to_string_pretty(
                &json!({ "file": facts, "tensors": types, "profile": profile, "fault": fault, "cpu_features": cpu()?.features })
            )?
        );
        return Ok(());
    }
    for (name, value) in &facts {
        println!("{:<22}{}", shown(name).to_string(), plain(value));
    }
    println!("\ntype     tensors           bytes");
    for (name, (tensors, bytes)) in &types {
        println!("{name:<8}{tensors:>8}{bytes:>16}");
    }
    match profile {
        None => println!("\nno profile: `serve` needs --profile, or convert the file with `convert-model`"),
        Some(profile) => print_profile(&profile),
    }
    if let Some(fault) = fault {
        println!("\ncannot be served      {}", escape::message(&fault));
    }
    println!("\nCPU features here     {}", cpu()?);
    Ok(())
}

fn print_profile(p: &Profile) {
    let c = &p.calibration;
    let (l, b) = (&p.labels, &c.bias);
    println!("\nprofile               {} version {}", shown(&p.name), p.version);
    println!("labels                {} / {} / {}", shown(&l.positive), shown(&l.neutral), shown(&l.negative));
    println!("temperature           {}", c.temperature);
    println!("bias                  {} / {} / {}", b.positive, b.neutral, b.negative);
    if let Some(Scaling { temperature, bias: b }) = &c.with_video {
        println!("with a video          {temperature}");
        println!("bias with a video     {} / {} / {}", b.positive, b.neutral, b.negative);
    }
    println!("abstains below        {}", c.abstain_below);
}

/// Why the file cannot be served: what its header says, or what it does to llama.cpp.
fn fault(path: &Path) -> Option<String> {
    match check::file(path) {
        Err(fault) => Some(fault.to_string()),
        Ok(_) => trial::load(path).err().map(|fault| fault.to_string()),
    }
}

/// What the header says, in the order to show it.
fn facts(header: &Header, sha256: &str) -> Vec<(String, Value)> {
    let text = |key: &str| header.metadata.get(key).and_then(gguf::Value::as_str).map(str::to_owned);
    let number = |key: &str| header.metadata.get(key).and_then(gguf::Value::as_u64);
    let architecture = text("general.architecture").unwrap_or_default();
    let of = |key: &str| number(&format!("{architecture}.{key}"));
    let parameters: u64 = header.tensors.iter().map(|t| t.rows() * t.columns()).sum();
    let mut facts = vec![
        ("name".to_owned(), json!(text("general.name"))),
        ("architecture".to_owned(), json!(architecture)),
        ("quantization".to_owned(), json!(number("general.file_type").map(file_type))),
        ("parameters".to_owned(), json!(parameters)),
        ("layers".to_owned(), json!(of("block_count"))),
        ("width".to_owned(), json!(of("embedding_length"))),
        ("context".to_owned(), json!(of("context_length"))),
        ("sliding window".to_owned(), json!(of("attention.sliding_window"))),
        ("bytes".to_owned(), json!(header.file_size())),
        ("sha256".to_owned(), json!(sha256)),
    ];
    for (key, value) in header.metadata.iter() {
        if let Some(name) = key.strip_prefix("ko_sentiment.provenance.") {
            let value = match value {
                gguf::Value::Str(text) => json!(text),
                gguf::Value::F32(number) => json!(number),
                number => json!(number.as_u64()),
            };
            facts.push((name.replace(['.', '_'], " "), value));
        }
    }
    facts.retain(|(_, value)| !value.is_null());
    facts
}

fn file_type(number: u64) -> String {
    u32::try_from(number).map_or_else(|_| number.to_string(), crate::llama::file_type_name)
}

/// Number and bytes of the tensors of each type.
fn types(header: &Header) -> BTreeMap<String, (usize, u64)> {
    let mut types: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for tensor in &header.tensors {
        let entry = types.entry(tensor.tensor_type.to_string()).or_default();
        entry.0 += 1;
        entry.1 += tensor.bytes();
    }
    types
}

fn plain(value: &Value) -> String {
    shown(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)).to_string()
}
