//! The one map from errors to gRPC codes with `google.rpc` details.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::engine::EngineError;
use crate::sentiment::input::Violation;

/// Domain of every `ErrorInfo`.
const DOMAIN: &str = "ko-sentiment";

/// An engine's error.
pub fn engine_error(error: &EngineError) -> Status {
    let (code, reason) = match error {
        EngineError::Overloaded { .. } => (Code::ResourceExhausted, "OVERLOADED"),
        EngineError::NoRoomApart => (Code::ResourceExhausted, "NO_ROOM_APART"),
        EngineError::TooLong { .. } => (Code::InvalidArgument, "PROMPT_TOO_LONG"),
        EngineError::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        EngineError::SlowReader => (Code::ResourceExhausted, "SLOW_READER"),
        EngineError::Decode(_) => (Code::Internal, "DECODE_FAILED"),
        EngineError::NotFinite => (Code::Internal, "NOT_FINITE"),
        EngineError::Stopped => (Code::Unavailable, "ENGINE_STOPPED"),
    };
    let mut details = info(reason);
    if let EngineError::Overloaded { retry_after } = error {
        details.set_retry_info(Some(*retry_after));
    }
    if matches!(error, EngineError::TooLong { .. }) {
        details.add_bad_request_violation("comment", error.to_string());
    }
    Status::with_error_details(code, error.to_string(), details)
}

/// Fields that break the contract.
pub fn invalid(violations: &[Violation]) -> Status {
    let mut details = info("INVALID_REQUEST");
    for v in violations {
        details.add_bad_request_violation(v.field, v.description.clone());
    }
    let faults: Vec<String> = violations.iter().map(|v| format!("`{}` {}", v.field, v.description)).collect();
    Status::with_error_details(Code::InvalidArgument, faults.join("; "), details)
}

/// The server stops.
pub fn stopping() -> Status {
    Status::with_error_details(
        Code::Unavailable,
        "the server is stopping; send the request to another",
        info("STOPPING"),
    )
}

fn info(reason: &str) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn overload_says_when_to_come_back() {
        let status = engine_error(&EngineError::Overloaded { retry_after: Duration::from_secs(3) });
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
        assert_eq!(details.error_info().unwrap().domain, DOMAIN);
    }

    #[test]
    fn violations_name_their_fields() {
        let violation = Violation { field: "video.title", description: "is too long".into() };
        let status = invalid(&[violation]);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "`video.title` is too long");
        assert_eq!(
            status.get_error_details().bad_request().unwrap().field_violations[0].field,
            "video.title"
        );
    }
}
