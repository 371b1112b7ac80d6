//! What llama.cpp computes with.

use std::ffi::{CStr, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use llama_cpp_2::{LlamaBackendDevice, list_llama_ggml_backend_devices};
use llama_cpp_sys_2 as sys;

use super::backend::backend;
use super::features::cpu_features;
use super::model::ModelError;

/// What the names of llama.cpp's backend libraries begin with.
const LIBRARY: &str = "libggml-";

/// A backend of llama.cpp.
#[derive(Debug, Clone)]
pub struct BackendInfo {
    /// Such as `CPU` or `CUDA`.
    pub name: String,
    /// The library that it was loaded from; `None` if it is compiled in.
    pub library: Option<PathBuf>,
}

/// The CPU backend in use.
#[derive(Debug, Clone)]
pub struct CpuInfo {
    /// The variant that was picked, such as `haswell`; `None` if the backend is compiled in.
    pub variant: Option<String>,
    /// The CPU features that it was built for, such as `AVX2` (`llama_print_system_info`).
    pub features: Vec<String>,
}

impl fmt::Display for CpuInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variant.as_deref().unwrap_or("compiled in"), self.features.join(" "))
    }
}

/// The devices that llama.cpp's backends found.
///
/// # Errors
/// [`ModelError::Backend`].
pub fn devices() -> Result<Vec<LlamaBackendDevice>, ModelError> {
    backend()?;
    Ok(list_llama_ggml_backend_devices())
}

/// The backends, with or without a device.
///
/// # Errors
/// [`ModelError::Backend`].
pub fn backends() -> Result<Vec<BackendInfo>, ModelError> {
    backend()?;
    // SAFETY: backends are loaded once, before this; a registered one and its name stay.
    let info = |index| unsafe {
        let registered = sys::ggml_backend_reg_get(index);
        let name = CStr::from_ptr(sys::ggml_backend_reg_name(registered)).to_string_lossy().into_owned();
        BackendInfo { name, library: library_of(registered.cast()) }
    };
    // SAFETY: no arguments, no preconditions.
    Ok((0..unsafe { sys::ggml_backend_reg_count() }).map(info).collect())
}

/// The CPU backend in use.
///
/// # Errors
/// [`ModelError::Backend`].
pub fn cpu() -> Result<CpuInfo, ModelError> {
    let library = backends()?.into_iter().find(|b| b.name == "CPU").and_then(|b| b.library);
    let variant = library.as_deref().and_then(Path::file_stem).and_then(OsStr::to_str);
    let variant = variant.and_then(|name| name.strip_prefix(LIBRARY)?.strip_prefix("cpu-"));
    Ok(CpuInfo { variant: variant.map(str::to_owned), features: cpu_features() })
}

/// Backend libraries beside the program that were not loaded, other than CPU variants: mostly since a
/// library that they need is missing.
///
/// # Errors
/// [`ModelError::Backend`].
pub fn libraries_not_loaded() -> Result<Vec<PathBuf>, ModelError> {
    let loaded: Vec<PathBuf> = backends()?.into_iter().filter_map(|b| b.library).collect();
    let program = std::env::current_exe().unwrap_or_default();
    let Some(files) = program.parent().and_then(|folder| folder.read_dir().ok()) else {
        return Ok(Vec::new());
    };
    let is_backend = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(LIBRARY));
        name.is_some_and(|name| {
            name.ends_with(".so") && !name.starts_with("cpu-") && !name.starts_with("base")
        })
    };
    let mut left: Vec<_> = files.flatten().map(|f| f.path()).filter(|p| is_backend(p)).collect();
    left.retain(|path| !loaded.contains(path));
    left.sort();
    Ok(left)
}

/// The library that an address lies in, if it is a backend's.
fn library_of(address: *const libc::c_void) -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked for; the answer goes into `info`.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) } != 0;
    // SAFETY: all zeros is a valid `Dl_info`, and a name in it stays while the library is loaded.
    let name = unsafe {
        let info = info.assume_init();
        (found && !info.dli_fname.is_null()).then(|| CStr::from_ptr(info.dli_fname))
    };
    let path = PathBuf::from(OsStr::from_bytes(name?.to_bytes()));
    let file = path.file_name()?.to_str()?;
    file.starts_with(LIBRARY).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_has_no_library() {
        let backends = backends().unwrap();
        let cpu_backend = backends.iter().find(|b| b.name == "CPU").unwrap();
        let dynamic = cfg!(feature = "dynamic-backends");
        assert_eq!(cpu_backend.library.is_some(), dynamic);
        let cpu = cpu().unwrap();
        assert_eq!(cpu.variant.is_some(), dynamic);
        assert!(!cpu.features.is_empty());
        assert!(libraries_not_loaded().unwrap().is_empty());
    }
}
