//! `ko-sentiment devices`

use clap::Args;
use serde_json::json;

use super::run::CliResult;
use crate::llama::{Kernels, backends, cpu, devices, libraries_not_loaded, product_types};
use crate::text::shown::shown_path;

/// List what llama.cpp computes with on this machine: backends, devices, memory, CPU features.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DevicesArgs) -> CliResult {
    let (devices, backends, cpu, left) = (devices()?, backends()?, cpu()?, libraries_not_loaded()?);
    let products: Vec<_> = product_types().iter().map(ToString::to_string).collect();
    if args.json {
        let devices: Vec<_> = devices
            .iter()
            .map(|d| {
                json!({
                    "name": d.name, "description": d.description, "backend": d.backend,
                    "memory_bytes": d.memory_total, "memory_free_bytes": d.memory_free,
                })
            })
            .collect();
        let backends: Vec<_> =
            backends.iter().map(|b| json!({ "name": b.name, "library": b.library })).collect();
        let all = json!({
            "devices": devices, "backends": backends, "not_loaded": left,
            "cpu_variant": cpu.variant, "cpu_features": cpu.features,
            "own_products": products,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for d in &devices {
        let memory = format!("{} of {} MiB free", d.memory_free >> 20, d.memory_total >> 20);
        println!("{:<14}{}, {memory}", d.name, d.description.trim());
    }
    println!();
    for b in &backends {
        let from = b.library.as_ref().map_or("compiled in".into(), |path| shown_path(path));
        let idle = if devices.iter().any(|d| d.backend == b.name) { "" } else { " (found no device)" };
        println!("{:<14}{from}{idle}", format!("backend {}", b.name));
    }
    for path in left {
        println!("not loaded    {} (`ldd` tells what it lacks)", shown_path(&path));
    }
    println!("CPU features  {}", cpu.features.join(" "));
    let by_whom = match (&products[..], Kernels::default()) {
        ([], _) => "by llama.cpp".to_owned(),
        (_, Kernels::Ours) => format!("our own for {}; else llama.cpp's", products.join(", ")),
        (_, Kernels::LlamaCpp) => {
            format!("by llama.cpp; with `--kernels ours` our own for {}", products.join(", "))
        }
    };
    println!("products      {by_whom}");
    Ok(())
}
