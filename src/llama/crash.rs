//! What llama.cpp says last: an assertion, an exception of C++ that nobody catches, or a page of the model's
//! file that is gone ends the process. It ends with a message that names the file, and without leaving a
//! half-written one behind.
//!
//! The check before ([`crate::gguf::check`]) keeps such files out, and a file that is new here is loaded in a child
//! process first. This is for what both let through, and for the message of that child process.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::text::shown::shown_path;
use llama_cpp_sys_2 as sys;

/// The model that is in use, for messages.
static MODEL: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
/// Files that nobody is to find afterwards: their names, each ended by a zero byte, and an empty name.
static UNFINISHED: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Has the process end with a message that names `path` if llama.cpp gives up. Call it before llama.cpp
/// reads the file.
pub fn name_model(path: &Path) {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(install);
    let name = shown_path(path);
    keep(&MODEL, CString::new(name).ok());
}

/// As [`name_model`], for a model's files, which are removed if that happens.
pub fn name_unfinished(paths: &[PathBuf]) {
    if let Some(first) = paths.first() {
        name_model(first);
    }
    let name = |path: &PathBuf| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let names = paths.iter().map(name).filter(|name| !name.is_empty());
    let mut list: Vec<u8> = names.flat_map(CString::into_bytes_with_nul).collect();
    list.push(0);
    UNFINISHED.store(Box::leak(list.into_boxed_slice()).as_mut_ptr().cast(), Ordering::Release);
}

/// Ends the process by a signal (SIGALRM) if it still runs after `seconds`.
pub fn end_after(seconds: u32) {
    // SAFETY: sets a timer of the process; the signal's action is the default.
    unsafe { libc::alarm(seconds) };
}

/// The unfinished file has been loaded and may stay.
pub fn finished() {
    keep(&UNFINISHED, None);
}

/// A handler may be reading the old text: it is never freed. A process loads few models.
fn keep(place: &AtomicPtr<c_char>, text: Option<CString>) {
    place.store(text.map_or(null_mut(), CString::into_raw), Ordering::Release);
}

fn install() {
    // SAFETY: the callback is a function of the type that ggml wants, and lives for ever.
    unsafe { sys::ggml_set_abort_callback(Some(on_assertion)) };
    for (signal, handler) in [
        (libc::SIGABRT, on_abort as *const ()),
        (libc::SIGFPE, on_abort as *const ()),
        (libc::SIGBUS, on_lost_page as *const ()),
    ] {
        // SAFETY: all zeros are a valid `sigaction`; the handlers have the signature that SA_SIGINFO asks for
        // and call only what a handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(signal, &raw const action, null_mut());
        }
    }
}

unsafe extern "C" fn on_assertion(message: *const c_char) {
    // SAFETY: ggml passes a C string that lives during the call.
    let message = unsafe { CStr::from_ptr(message) };
    end(&[b"llama.cpp cannot go on with ", model(), b" (", message.to_bytes(), b"); ", ADVICE]);
}

extern "C" fn on_abort(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    end(&[GAVE_UP.as_bytes(), b" while ", model(), b" was in use; ", ADVICE]);
}

extern "C" fn on_lost_page(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    end(&[model(), b" was changed or cut off while it was in use; put the whole file back and start again"]);
}

/// What the message of a crash that nobody explained begins with.
pub const GAVE_UP: &str = "llama.cpp or this program gave up";

const ADVICE: &[u8] = b"get the file from its publisher again, and report this if it still happens";

fn model() -> &'static [u8] {
    let text = MODEL.load(Ordering::Acquire);
    // SAFETY: a C string that `keep` leaked.
    if text.is_null() { b"the model file" } else { unsafe { CStr::from_ptr(text) }.to_bytes() }
}

/// Writes a line to standard error and ends the process. Only what is safe in a signal handler.
fn end(parts: &[&[u8]]) -> ! {
    let write = |bytes: &[u8]| {
        // SAFETY: the pointer and the length are those of one slice.
        unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
    };
    write(b"error: ");
    parts.iter().for_each(|part| write(part));
    write(b"\n");
    let mut unfinished = UNFINISHED.load(Ordering::Acquire);
    // SAFETY: C strings one after the other that `name_unfinished` leaked, the last one empty; `unlink` and `_exit` may
    // be called in a handler.
    unsafe {
        while !unfinished.is_null() && *unfinished != 0 {
            libc::unlink(unfinished);
            unfinished = unfinished.add(CStr::from_ptr(unfinished).count_bytes() + 1);
        }
        libc::_exit(1)
    }
}
