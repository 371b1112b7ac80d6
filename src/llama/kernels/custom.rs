//! ggml's custom operation, which a graph's node can be turned into: llama.cpp then calls us on every thread of its
//! pool. A graph that is used again keeps what it was turned into.

use std::ffi::c_void;

use llama_cpp_sys_2 as sys;

/// What ggml calls for a node: the node, the thread's number, their count, and the data.
pub type Compute = unsafe extern "C" fn(*mut sys::ggml_tensor, i32, i32, *mut c_void);

/// What turns a node into a custom one.
#[derive(Debug, Clone, Copy)]
pub struct Custom {
    op: sys::ggml_op,
    op_params: [i32; 16],
}

impl Custom {
    /// An operation that all threads compute. `data` must be there as long as a graph has it.
    pub fn new(compute: Compute, data: *mut c_void) -> Self {
        let size = 1 << 12;
        let init = sys::ggml_init_params { mem_size: size, mem_buffer: std::ptr::null_mut(), no_alloc: true };
        // SAFETY: a context with room for one tensor, of which the header is copied before both are freed.
        unsafe {
            let context = sys::ggml_init(init);
            let (kind, none) = (sys::GGML_TYPE_F32, std::ptr::null_mut());
            let node = sys::ggml_custom_4d(context, kind, 1, 1, 1, 1, none, 0, Some(compute), -1, data);
            let custom = Self { op: (*node).op, op_params: (*node).op_params };
            sys::ggml_free(context);
            custom
        }
    }

    /// Whether a node was turned into this operation.
    pub fn is(&self, node: &sys::ggml_tensor) -> bool {
        node.op == self.op && node.op_params == self.op_params
    }

    /// Turns a node into this operation on the sources that it has.
    pub fn put(&self, node: &mut sys::ggml_tensor) {
        node.op = self.op;
        node.op_params = self.op_params;
    }
}
