//! The end of a conversion: the result is read again, loaded, and asked a question.

pub mod verify;
