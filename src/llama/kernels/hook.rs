//! llama.cpp asks a context's evaluation callback before it computes a node of its graph; ours puts our own
//! operations in the place of some nodes.

use std::ffi::c_void;

use ko_sentiment_kernels::available;
use llama_cpp_sys_2 as sys;

use super::attention_hook::AttentionHook;
use super::head::Head;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::products_hook::ProductsHook;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::rowwise_hook::RowwiseHook;
use crate::engine::backend::Batch;

/// The callback's memory; it must outlive the context.
#[derive(Default)]
pub struct Hook {
    attention: Option<AttentionHook>,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    products: Option<(Box<ProductsHook>, RowwiseHook)>,
}

impl Hook {
    /// Computes attention, and products and what lies between them, ourselves, each if it is wanted and made for this CPU.
    pub fn new(attention: bool, products: bool) -> Box<Self> {
        let attention = attention && available();
        let products = products && available();
        Box::new(Self {
            attention: attention.then(AttentionHook::default),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            products: products.then(|| (ProductsHook::new(), RowwiseHook::new())),
        })
    }

    /// What the head gives of a step, where products are ours.
    pub fn head(&self) -> Option<&Head> {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        return self.products.as_ref().map(|(products, _)| products.head());
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        None
    }

    /// A step begins, of rows of so many logits.
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(unused))]
    pub fn begin(&mut self, batch: &Batch, vocabulary: usize) {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if let Some((products, _)) = &mut self.products {
            let outputs = batch.tokens.iter().map(|token| token.output);
            products.head_mut().begin(outputs, &batch.columns, vocabulary);
        }
    }

    /// Sets the callback of a context to be made, if there is anything to do.
    pub fn install(&mut self, params: &mut sys::llama_context_params) {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        let any = self.attention.is_some() || self.products.is_some();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let any = self.attention.is_some();
        if any {
            params.cb_eval = Some(on_node);
            params.cb_eval_user_data = std::ptr::from_mut(self).cast();
        }
    }
}

/// llama.cpp's `cb_eval`: never asks for a node's data.
unsafe extern "C" fn on_node(node: *mut sys::ggml_tensor, ask: bool, hook: *mut c_void) -> bool {
    // SAFETY: llama.cpp hands over a live node and the pointer that `install` gave it, on one thread.
    let (node, hook) = unsafe { (&mut *node, &mut *hook.cast::<Hook>()) };
    if ask {
        if let Some(attention) = &mut hook.attention {
            attention.take(node);
        }
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if let Some((products, rowwise)) = &mut hook.products {
            products.take(node);
            rowwise.take(node);
        }
    }
    false
}
