//! The one integration binary.

mod eval;
