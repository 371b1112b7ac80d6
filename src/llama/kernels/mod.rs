//! Kernels of our own, put in place of llama.cpp's where those are far from the machine.

pub mod attention;
mod attention_hook;
mod custom;
pub mod hook;
pub mod products;
#[cfg(target_arch = "x86_64")]
mod products_hook;

/// Whose kernels compute on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kernels {
    /// Our own where there are any for the CPU, the type and the size of the step, else llama.cpp's.
    #[default]
    Ours,
    /// llama.cpp's alone.
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl std::fmt::Display for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::LlamaCpp => "llama.cpp",
        })
    }
}
