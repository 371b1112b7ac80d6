//! The CPU features that llama.cpp computes with, and what follows from them.

use std::ffi::CStr;

use ko_sentiment_kernels::available;
use llama_cpp_sys_2 as sys;

use super::kernels::choice::Kernels;

/// Whether weights are rearranged in memory for the CPU (llama.cpp's `--repack`).
///
/// Not on x86-64: its kernels for K-quants as they are (`ggml-cpu/tiled/`) read a prompt faster than
/// those for rearranged ones, and the weights stay the file's mapped pages instead of a second copy.
/// AMX has kernels for rearranged weights alone, and other CPUs have nothing better; but our products on ARM need them
/// as they are.
pub fn repacks_weights(kernels: Kernels) -> bool {
    if cfg!(target_arch = "x86_64") {
        cpu_features().iter().any(|feature| feature == "AMX_INT8")
    } else {
        kernels == Kernels::LlamaCpp || !available() || offloads()
    }
}

/// The CPU features that the loaded CPU backend was built for, such as `AVX2`
/// (`llama_print_system_info`).
pub fn cpu_features() -> Vec<String> {
    // SAFETY: returns a C string that llama.cpp keeps.
    let info = unsafe { CStr::from_ptr(sys::llama_print_system_info()) }.to_string_lossy();
    features_in(&info)
}

/// What is on in the CPU's part of llama.cpp's line, after those of GPU backends.
fn features_in(info: &str) -> Vec<String> {
    let cpu = info.rsplit_once("CPU :").map_or(info, |(_, cpu)| cpu);
    let pairs = cpu.split('|').filter_map(|part| part.split_once('='));
    pairs.filter(|(_, on)| on.trim() == "1").map(|(name, _)| name.trim().to_owned()).collect()
}

/// Whether a GPU may take part.
pub fn offloads() -> bool {
    // SAFETY: no arguments, no preconditions.
    unsafe { sys::llama_supports_gpu_offload() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_other_backends_are_not_the_cpus() {
        let info = "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX512 = 0 | AVX2 = 1 | ";
        assert_eq!(features_in(info), ["SSE3", "AVX2"]);
        assert!(features_in("").is_empty());
    }
}
