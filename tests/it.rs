//! The integration tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity, missing_docs)]
#![allow(clippy::print_stdout)]
// A table of cases is one function, however long.
#![allow(clippy::too_many_lines)]

mod access;
mod annotate;
mod answer_cache;
mod attention;
mod bulk;
mod command_line;
mod convert;
mod dataset;
mod drafts;
mod embedded;
mod eval;
mod faults;
mod head;
mod hostile;
mod labels;
mod layers;
mod messages;
mod products;
mod python;
mod rpc;
mod security;
mod stopping;
mod storm;
mod supervised;
mod support;
mod telemetry;
mod traces;
mod transport;
mod troubleshooting;
mod web;
