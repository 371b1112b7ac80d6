//! Kernels of our own, put in place of llama.cpp's where those are far from the machine.

pub mod attention;
pub mod attention_hook;
