//! Files: opened if they are files, locks, hashes, outputs that have their name only when they are whole, and
//! whether one that is in use was changed.

pub mod hash;
pub mod lock;
pub mod open;
pub mod output;
pub mod split;
pub mod watch;
