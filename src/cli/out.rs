//! Standard output that may be closed by its reader, as by `head`: then the command ends quietly.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// Writes to standard output; ends the process if nobody reads it any more.
pub fn write(text: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { 1 };
        if code != 0 {
            // Standard error may be gone too.
            let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
        }
        process::exit(code);
    }
}
