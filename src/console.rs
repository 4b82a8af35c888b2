//! The terminal: log lines, the live line beneath them, and the last words of a run, all on stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The live line as it stands on the terminal; empty when there is none.
static STATUS: Mutex<String> = Mutex::new(String::new());

/// Starts logging: warnings and progress by default, more with `RUST_LOG`.
pub fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveStatus)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // A second start, in tests, changes nothing.
    if let Err(error) = log.try_init() {
        tracing::debug!("logging was started before: {error}");
    }
}

/// Whether stderr is a terminal, so that a live line makes sense.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Replaces the live line; an empty one takes it away.
pub fn set_status(line: &str) {
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if !(status.is_empty() && line.is_empty()) {
        line.clone_into(&mut status);
        write_stderr(format!("\r\x1b[K{line}").as_bytes());
    }
}

/// Prints a line to stderr, above the live line if there is one.
pub fn say(line: &str) {
    above_status(format!("{line}\n").as_bytes());
}

fn above_status(text: &[u8]) {
    let status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if status.is_empty() {
        write_stderr(text);
    } else {
        write_stderr(&[b"\r\x1b[K", text, status.as_bytes()].concat());
    }
}

/// Nobody is left to be told when stderr is closed.
fn write_stderr(text: &[u8]) {
    let mut stderr = io::stderr().lock();
    if stderr.write_all(text).and_then(|()| stderr.flush()).is_err() {}
}

/// Log lines, one write each.
struct AboveStatus;

impl<'a> MakeWriter<'a> for AboveStatus {
    type Writer = AboveStatus;

    fn make_writer(&'a self) -> AboveStatus {
        AboveStatus
    }
}

impl Write for AboveStatus {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        above_status(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
