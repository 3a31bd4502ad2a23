//! Writing to people and pipes.

use crate::exit::Failure;
use std::io::{self, ErrorKind, Write};

/// Writes a result to stdout. A reader that has gone away (`iofs compare | head -1`) has what it wanted: not an error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::work(format!("writing the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a value as one line of JSON to stdout.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::work(format!("writing JSON: {error}")))?;
    print(&text)
}

/// Says something beside the result, on stderr. Nobody listening is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// One line on stderr that begins with the command's name.
pub(crate) fn complain(text: &str) {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    say(&format!("iofs: {line}"));
}
