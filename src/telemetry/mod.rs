//! What operators see of a running server.
//!
//! | file | job |
//! | --- | --- |
//! | `logs` | log lines |
//! | `names` | the one table of metrics |
//! | `metrics` | the numbers of all rooms, under those names |
//! | `process` | the numbers of the process |
//! | `exposition` | the text that Prometheus reads |
//! | `readiness` | whether the server takes calls |
//! | `port` | `/metrics`, `/livez` and `/readyz` |
//! | `otlp` | traces, to a collector of OpenTelemetry |

mod exposition;
mod logs;
mod metrics;
pub mod names;
pub mod otlp;
mod port;
mod process;
mod readiness;

pub use exposition::Format;
pub use logs::{LogFormat, init};
pub use metrics::Metrics;
pub use port::Port;
pub use readiness::{Readiness, State};
