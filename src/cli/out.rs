//! Standard output that may be closed by its reader, as by `head`: then the command ends quietly. Standard error that may
//! be closed or full.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// Writes to standard output; ends the process if nobody reads it any more.
pub fn write(text: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { 1 };
        if code != 0 {
            tell(format_args!("error: cannot write to standard output: {error}"));
        }
        process::exit(code);
    }
}

/// Writes a line to standard error. That it cannot be written is no reason to stop.
pub fn tell(line: Arguments<'_>) {
    let _gone_or_full = writeln!(io::stderr(), "{line}");
}
