//! How urgent a call is, and whose: what the engine's queue goes by.

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::principal::Admitted;
use super::status;
use crate::engine::{Class, Share};
use crate::sentiment::input::Violation;

/// Metadata by which a caller says that nobody waits for this answer: `bulk`.
pub const PRIORITY: &str = "x-ko-sentiment-priority";

/// The share of a call to a method of this class. A caller may ask for less, never for more.
///
/// # Errors
/// INVALID_ARGUMENT for another value than `bulk`.
pub fn share(metadata: &MetadataMap, admitted: Option<&Admitted>, class: Class) -> Result<Share, Status> {
    let class = match metadata.get(PRIORITY).map(|value| value.as_bytes()) {
        None => class,
        Some(b"bulk") => Class::Bulk,
        Some(_) => {
            let description = "must be `bulk`, or not be there".to_owned();
            return Err(status::invalid(&[Violation { field: PRIORITY, description }]));
        }
    };
    Ok(admitted.map_or(Share { class, ..Share::default() }, |admitted| admitted.share(class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_ask_for_less_only() {
        let of = |value: Option<&str>, class| {
            let mut metadata = MetadataMap::new();
            if let Some(value) = value {
                metadata.insert(PRIORITY, value.parse().unwrap());
            }
            share(&metadata, None, class).map(|share| share.class).map_err(|e| e.code())
        };
        assert_eq!(of(None, Class::Interactive), Ok(Class::Interactive));
        assert_eq!(of(Some("bulk"), Class::Interactive), Ok(Class::Bulk));
        assert_eq!(of(None, Class::Bulk), Ok(Class::Bulk));
        assert_eq!(of(Some("interactive"), Class::Bulk), Err(tonic::Code::InvalidArgument));
    }
}
