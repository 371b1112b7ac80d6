//! The one integration binary: one link step, shared fixtures.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod convert;
