//! Numbers to blocks: which type each tensor gets, and the kernels that round.

pub mod imatrix;
pub mod mixture;
pub mod pad;
pub mod quant;
pub mod read;
pub mod smooth;
pub mod type_override;
