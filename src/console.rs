//! Everything the program writes to stderr: log records, messages, and the live status line below them.
//!
//! This is the border at which secrets in URIs are hidden, wherever a message comes from.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{panic, thread};

use clap::ValueEnum;
use schema::{redact_uris, shown};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;

use crate::environment;

/// The format of the log on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line a record, for people.
    #[default]
    Text,
    /// One JSON object a record, for log collectors. Messages become records too.
    Json,
}

/// The status line on the terminal. Empty: there is none.
static STATUS: Mutex<String> = Mutex::new(String::new());

/// Whether everything on stderr is a log record.
static JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging at level `info`, or with the filter in `RUST_LOG`.
pub fn start_logging(format: LogFormat) {
    let wanted = environment::text("RUST_LOG");
    let filter = wanted.as_ref().and_then(|filter| EnvFilter::try_new(filter).ok());
    let wrong = wanted.filter(|_| filter.is_none());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(AboveStatus).with_target(false);
    let started = match format {
        LogFormat::Text => log.with_ansi(has_colors()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).try_init(),
    };
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    if format == LogFormat::Json {
        panic::set_hook(Box::new(|info| tracing::error!(thread = thread::current().name(), "{info}")));
    }
    // Tests start it more than once.
    if let Err(error) = started {
        tracing::debug!(error, "logging has started before");
    }
    if let Some(wrong) = wrong {
        tracing::warn!(
            "RUST_LOG: `{}` is not a filter of the log, which is at level info: write LEVEL or TARGET=LEVEL, separated by \
             commas, as in info,snapshots=debug",
            shown(unparsable(&wrong))
        );
    }
}

/// The first part of a filter that cannot be parsed. A comma may also lie within a part: then it is the whole.
fn unparsable(filter: &str) -> &str {
    let mut parts = filter.split(',').filter(|part| !part.trim().is_empty());
    parts.find(|part| part.parse::<Directive>().is_err()).unwrap_or(filter)
}

/// Whether a live status line can be shown: on a terminal that can replace a line, between log records in text.
pub fn has_status_line() -> bool {
    !is_json() && is_terminal()
}

/// Whether log records have colors: on a terminal, unless the user wants none (<https://no-color.org>).
fn has_colors() -> bool {
    is_terminal() && environment::variable("NO_COLOR").is_none()
}

/// Whether stderr is a terminal that understands more than plain text.
fn is_terminal() -> bool {
    io::stderr().is_terminal() && environment::variable("TERM").is_none_or(|term| term != "dumb")
}

/// Whether stderr carries nothing but JSON records.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Replaces the status line. An empty one removes it.
pub fn set_status(line: &str) {
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if !(status.is_empty() && line.is_empty()) {
        line.clone_into(&mut status);
        write_stderr(format!("\r\x1b[K{line}").as_bytes());
    }
}

/// Prints a message above the status line. With JSON logs it is a record of level `info`.
pub fn say(line: &str) {
    if is_json() {
        tracing::info!("{line}");
    } else {
        above_status(format!("{line}\n").as_bytes());
    }
}

/// Prints the error that ends the program. With JSON logs it is a record of level `error`.
pub fn report(error: &anyhow::Error) {
    if is_json() {
        tracing::error!("{error:#}");
    } else {
        above_status(format!("deltarec: {error:#}\n").as_bytes());
    }
}

/// Prints what `clap` says of wrong arguments, or the help.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && is_json() {
        report(&anyhow::anyhow!("{}", error.render().to_string().trim_end()));
    } else if error.use_stderr() {
        let text = error.render();
        let text = if io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
        above_status(text.as_bytes());
    } else if error.print().is_err() {
        // A closed stdout is ignored, as a closed stderr is.
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Hides secrets in the messages of panics too.
pub fn hide_secrets_of_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.to_string();
        if redact_uris(&message) == message { default(panic) } else { above_status(format!("{message}\n").as_bytes()) }
    }));
}

fn above_status(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let text = redact_uris(&text);
    let text = text.as_bytes();
    let status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if status.is_empty() {
        write_stderr(text);
    } else {
        write_stderr(&[b"\r\x1b[K", text, status.as_bytes()].concat());
    }
}

/// A closed stderr is ignored: there is no other place to report it.
fn write_stderr(text: &[u8]) {
    let mut stderr = io::stderr().lock();
    if stderr.write_all(text).and_then(|()| stderr.flush()).is_err() {}
}

/// A record with its line breaks escaped, except the one at its end: a value must not look like another record.
fn one_line(record: &[u8]) -> Vec<u8> {
    let (body, end) = record.strip_suffix(b"\n").map_or((record, &b""[..]), |body| (body, b"\n"));
    let mut line = Vec::with_capacity(record.len());
    for byte in body {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.extend_from_slice(end);
    line
}

/// Writes each log record in one write, above the status line.
struct AboveStatus;

impl<'a> MakeWriter<'a> for AboveStatus {
    type Writer = AboveStatus;

    fn make_writer(&'a self) -> AboveStatus {
        AboveStatus
    }
}

impl Write for AboveStatus {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        above_status(&one_line(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
