//! `llama_model_quantize` of the linked llama.cpp: what llama-quantize does.

use std::ffi::CString;
use std::path::Path;

use ko_sentiment::convert::quantise::type_override::TypeOverride;
use ko_sentiment::gguf::tensor_type::FileType;
use llama_cpp_sys_2 as llama;

use super::support::Converted;

/// A command line of llama-quantize.
pub struct LlamaQuantize<'a> {
    pub file_type: FileType,
    pub overrides: &'a [TypeOverride],
    /// Importance of columns, by tensor name.
    pub imatrix: &'a [(String, Vec<f32>)],
}

impl LlamaQuantize<'_> {
    pub fn new(file_type: FileType) -> Self {
        Self { file_type, overrides: &[], imatrix: &[] }
    }

    pub fn run(&self, from: &Path, to: &Path) {
        let path = |p: &Path| CString::new(p.to_str().unwrap()).unwrap();
        let (from, to) = (path(from), path(to));
        ko_sentiment::llama::backend::backend().unwrap();
        let text = |s: &str| CString::new(s).unwrap();
        let patterns: Vec<CString> =
            self.overrides.iter().map(|o| text(o.to_string().rsplit_once('=').unwrap().0)).collect();
        let of = |(pattern, over): (&CString, &TypeOverride)| llama::llama_model_tensor_override {
            pattern: pattern.as_ptr(),
            type_: over.tensor_type.id() as llama::ggml_type,
        };
        let mut types: Vec<_> = patterns.iter().zip(self.overrides).map(of).collect();
        types.push(llama::llama_model_tensor_override { pattern: std::ptr::null(), type_: 0 });
        let names: Vec<CString> = self.imatrix.iter().map(|(name, _)| text(name)).collect();
        let of = |(name, (_, row)): (&CString, &(String, Vec<f32>))| llama::llama_model_imatrix_data {
            name: name.as_ptr(),
            data: row.as_ptr(),
            size: row.len(),
        };
        let mut rows: Vec<_> = names.iter().zip(self.imatrix).map(of).collect();
        rows.push(llama::llama_model_imatrix_data {
            name: std::ptr::null(),
            data: std::ptr::null(),
            size: 0,
        });
        // SAFETY: the paths, names, rows and both tables (which end with a null) live until the call
        // returns; the parameters are llama.cpp's defaults with other types.
        let code = unsafe {
            let mut params = llama::llama_model_quantize_default_params();
            params.ftype = self.file_type.id() as llama::llama_ftype;
            params.nthread = 2;
            params.allow_requantize = true;
            params.tt_overrides = types.as_ptr();
            if !self.imatrix.is_empty() {
                params.imatrix = rows.as_ptr();
            }
            llama::llama_model_quantize(from.as_ptr(), to.as_ptr(), &params)
        };
        assert_eq!(code, 0);
    }
}

pub fn check_same_tensors(ours: &Path, theirs: &Path, what: &str) {
    let (ours, theirs) = (Converted::read(ours), Converted::read(theirs));
    assert_eq!(ours.header.tensors, theirs.header.tensors, "{what}: types, order and offsets");
    for tensor in &ours.header.tensors {
        assert!(ours.data(&tensor.name) == theirs.data(&tensor.name), "{what}: {}", tensor.name);
    }
}
