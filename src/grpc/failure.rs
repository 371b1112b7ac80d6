//! What a client's error says of the request that failed.

use std::time::Duration;

use tonic::Code;
use tonic_types::StatusExt as _;

use super::client::ClientError;

/// What a client's error says of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The request cannot be answered, however often it is sent.
    Request,
    /// The server is full, or a limit of the client's is reached.
    Full {
        /// When to send the request again, as the server says.
        after: Duration,
    },
    /// The server is away, such as while it is started anew.
    Away,
    /// Anything else: no request is answered.
    Other,
}

impl ClientError {
    /// What the error says of its request.
    pub fn kind(&self) -> FailureKind {
        let status = match self {
            ClientError::Status(status) => status,
            ClientError::Connect { .. } => return FailureKind::Away,
            _ => return FailureKind::Other,
        };
        let details = status.get_error_details();
        let after = details.retry_info().and_then(|info| info.retry_delay);
        let reason = details.error_info().map_or("", |info| info.reason.as_str());
        match (status.code(), after) {
            (Code::ResourceExhausted, Some(after)) => FailureKind::Full { after },
            (Code::InvalidArgument, _) => FailureKind::Request,
            (Code::OutOfRange | Code::ResourceExhausted, None) if reason == "MESSAGE_TOO_LARGE" => {
                FailureKind::Request
            }
            (Code::Unavailable, _) => FailureKind::Away,
            // The transport's own words for a connection that broke.
            (Code::Unknown | Code::Cancelled, _) if details.error_info().is_none() => FailureKind::Away,
            _ => FailureKind::Other,
        }
    }

    /// The reason without the code's name, for people.
    pub fn reason(&self) -> String {
        match self {
            ClientError::Status(status) => status.message().to_owned(),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;
    use crate::grpc::status;
    use crate::sentiment::input::Violation;

    #[test]
    fn errors_say_whether_to_ask_again() {
        let check = |status: tonic::Status, expect| assert_eq!(ClientError::from(status).kind(), expect);
        let after = Duration::from_millis(700);
        check(
            status::engine_error(&EngineError::Overloaded { retry_after: after }),
            FailureKind::Full { after },
        );
        check(status::engine_error(&EngineError::TooLong { tokens: 9, limit: 8 }), FailureKind::Request);
        let violation = Violation { field: "comment", description: "is blank".into() };
        check(status::invalid(&[violation]), FailureKind::Request);
        let large = status::of_transport(&tonic::Status::out_of_range("")).unwrap();
        check(large, FailureKind::Request);
        check(status::stopping(), FailureKind::Away);
        check(tonic::Status::unknown("transport error"), FailureKind::Away);
        check(status::engine_error(&EngineError::NoRoomApart), FailureKind::Other);
        check(status::engine_error(&EngineError::NotFinite), FailureKind::Other);
        check(status::unknown_token(), FailureKind::Other);
    }
}
