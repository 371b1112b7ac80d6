//! `ko-sentiment devices`

use clap::Args;
use serde_json::json;

use super::CliResult;
use crate::engine::llama::{cpu_features, devices};

/// What llama.cpp computes with here: CPU features in use, and the devices that its backends found.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DevicesArgs) -> CliResult {
    let devices = devices()?;
    let features = cpu_features();
    if args.json {
        let list: Vec<_> = devices
            .iter()
            .map(|d| {
                json!({
                    "name": d.name, "description": d.description, "backend": d.backend,
                    "memory_bytes": d.memory_total, "memory_free_bytes": d.memory_free,
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "devices": list, "cpu_features": features }))?);
        return Ok(());
    }
    for d in devices {
        let memory = format!("{} of {} MiB free", d.memory_free >> 20, d.memory_total >> 20);
        println!("{:<8}{:<10}{}, {memory}", d.backend, d.name, d.description);
    }
    println!("CPU features in use: {}", features.join(" "));
    Ok(())
}
