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
    // Backends with long names fit too.
    let row = |name: &str, text: &str| println!("{name:<16}{text}");
    for d in &devices {
        let memory = format!("{} of {} MiB free", d.memory_free >> 20, d.memory_total >> 20);
        row(&d.name, &format!("{}, {memory}", d.description.trim()));
    }
    println!();
    for b in &backends {
        let from = b.library.as_ref().map_or("compiled in".into(), |path| shown_path(path));
        let idle = if devices.iter().any(|d| d.backend == b.name) { "" } else { " (found no device)" };
        row(&format!("backend {}", b.name), &format!("{from}{idle}"));
    }
    for path in left {
        row("not loaded", &format!("{} (`ldd` tells what it lacks)", shown_path(&path)));
    }
    row("CPU features", &cpu.features.join(" "));
    let by_whom = match (&products[..], Kernels::default()) {
        ([], _) => "by llama.cpp".to_owned(),
        (_, Kernels::Ours) => format!("our own for {}; else llama.cpp's", products.join(", ")),
        (_, Kernels::LlamaCpp) => {
            format!("by llama.cpp; with `--kernels ours` our own for {}", products.join(", "))
        }
    };
    row("products", &by_whom);
    Ok(())
}
