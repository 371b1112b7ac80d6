//! The one map from errors to gRPC codes with `google.rpc` details.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::principal::Exceeded;
use crate::engine::EngineError;
use crate::sentiment::input::Violation;

/// Domain of every `ErrorInfo`.
const DOMAIN: &str = "ko-sentiment";

/// An engine's error.
pub fn engine_error(error: &EngineError) -> Status {
    let (code, reason) = match error {
        EngineError::Overloaded { .. } => (Code::ResourceExhausted, "OVERLOADED"),
        EngineError::TooLate { .. } => (Code::ResourceExhausted, "DEADLINE_TOO_SHORT"),
        EngineError::NoRoomApart => (Code::ResourceExhausted, "NO_ROOM_APART"),
        EngineError::TooLong { .. } => (Code::InvalidArgument, "PROMPT_TOO_LONG"),
        EngineError::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        EngineError::SlowReader => (Code::ResourceExhausted, "SLOW_READER"),
        EngineError::Decode(_) => (Code::Internal, "DECODE_FAILED"),
        EngineError::NotFinite => (Code::Internal, "NOT_FINITE"),
        EngineError::Stopped => (Code::Unavailable, "ENGINE_STOPPED"),
    };
    let mut details = info(reason);
    if matches!(error, EngineError::TooLong { .. }) {
        details.add_bad_request_violation("comment", error.to_string());
    }
    match error {
        EngineError::Overloaded { retry_after } | EngineError::TooLate { retry_after, .. } => {
            retry(code, error.to_string(), details, *retry_after)
        }
        _ => Status::with_error_details(code, error.to_string(), details),
    }
}

/// An error that passes: when to retry stands in the details for programs, and in the trailer that gRPC's own
/// retries follow (<https://github.com/grpc/proposal/blob/master/A6-client-retries.md>).
fn retry(code: Code, message: String, mut details: ErrorDetails, after: Duration) -> Status {
    details.set_retry_info(Some(after));
    let mut status = Status::with_error_details(code, message, details);
    let milliseconds = i32::try_from(after.as_millis()).unwrap_or(i32::MAX);
    status.metadata_mut().insert("grpc-retry-pushback-ms", milliseconds.into());
    status
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

/// No room for more of a message that has not arrived whole.
pub fn too_much_unfinished() -> Status {
    let message = "the server holds too much of unfinished messages; send fewer or smaller ones at once";
    retry(Code::ResourceExhausted, message.to_owned(), info("TOO_MUCH_UNFINISHED"), Duration::from_secs(5))
}

/// A message whose rest does not come.
pub fn stopped_arriving() -> Status {
    let message = "the message stopped arriving; send it again";
    Status::with_error_details(Code::Cancelled, message, info("STOPPED_ARRIVING"))
}

/// The server stops.
pub fn stopping() -> Status {
    Status::with_error_details(
        Code::Unavailable,
        "the server is stopping; send the request to another",
        info("STOPPING"),
    )
}

/// A call with neither a token nor a certificate that is one.
pub fn no_token(has_certificate: bool) -> Status {
    let message = if has_certificate {
        "the client's certificate names nobody who may call; send a token (`authorization: Bearer …`)"
    } else {
        "the call has no token; send one (`authorization: Bearer …`)"
    };
    Status::with_error_details(Code::Unauthenticated, message, info("NO_TOKEN"))
}

/// A token that is in no file.
pub fn unknown_token() -> Status {
    let message = "the token is not known here; ask the server's operator for a new one";
    Status::with_error_details(Code::Unauthenticated, message, info("UNKNOWN_TOKEN"))
}

/// A token of yesterday.
pub fn expired_token() -> Status {
    let message = "the token is expired; ask the server's operator for a new one";
    Status::with_error_details(Code::Unauthenticated, message, info("TOKEN_EXPIRED"))
}

/// A method that a token is not for.
pub fn method_denied(principal: &str, method: &str) -> Status {
    let method: String = method.chars().take(64).collect();
    let message = format!("`{principal}` may not call `{method}`; ask the server's operator to allow it");
    Status::with_error_details(Code::PermissionDenied, message, info("METHOD_NOT_ALLOWED"))
}

/// A principal's limit.
pub fn exceeded(exceeded: &Exceeded) -> Status {
    let message =
        format!("the limit of {} is reached; retry in {:.1?}", exceeded.limit, exceeded.retry_after);
    retry(Code::ResourceExhausted, message, info(exceeded.reason), exceeded.retry_after)
}

/// An error of the transport in our own words, with details. `None` for one that has them.
pub fn of_transport(bare: &Status) -> Option<Status> {
    if bare.code() == Code::Ok || !bare.details().is_empty() {
        return None;
    }
    let (reason, message) = match bare.code() {
        Code::OutOfRange => (
            "MESSAGE_TOO_LARGE",
            "a message is larger than the server takes; send fewer comments at once".to_owned(),
        ),
        Code::ResourceExhausted => (
            "MESSAGE_TOO_LARGE",
            "a message is larger than the server takes once it is decompressed; send fewer comments at once"
                .to_owned(),
        ),
        Code::Unimplemented if bare.message().is_empty() => {
            ("NO_SUCH_METHOD", "the server has no such method; check the client's version".to_owned())
        }
        Code::Unimplemented => ("UNIMPLEMENTED", bare.message().to_owned()),
        Code::NotFound => ("NO_SUCH_SERVICE", bare.message().to_owned()),
        Code::Internal => ("UNREADABLE_MESSAGE", bare.message().to_owned()),
        _ => ("TRANSPORT", bare.message().to_owned()),
    };
    Some(Status::with_error_details(bare.code(), message, info(reason)))
}

fn info(reason: &str) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_says_when_to_come_back() {
        let status = engine_error(&EngineError::Overloaded { retry_after: Duration::from_secs(3) });
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
        assert_eq!(details.error_info().unwrap().domain, DOMAIN);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "3000");
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
