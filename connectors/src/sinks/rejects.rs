use std::collections::BTreeMap;

use schema::{Position, Rejected};

use super::OutputClaim;
use crate::{OpenError, Sink, SinkError};

/// Counts rejected records by reason, logs the first of each reason, and writes all of them to an output, if there is one.
#[derive(Default)]
pub struct RejectLog {
    counts: BTreeMap<String, u64>,
    total: u64,
    output: Option<Box<dyn Sink<Rejected>>>,
}

impl RejectLog {
    /// A log with this output: its contents are replaced, or, if the run resumes, appended to. A topic is always appended to.
    pub fn to(claim: OutputClaim, resumes: bool) -> Result<Self, OpenError> {
        let output = if resumes { claim.append()? } else { claim.open()? };
        Ok(RejectLog { output: Some(output), ..RejectLog::default() })
    }

    /// Takes one record. It is counted even if the output fails.
    pub fn record(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        let code = rejected.reason.code();
        self.total += 1;
        if !self.counts.contains_key(&code) {
            warn(&code, rejected);
        }
        *self.counts.entry(code).or_default() += 1;
        self.output.as_mut().map_or(Ok(()), |output| output.write(rejected))
    }

    /// Number of records by [`schema::Reason::code`].
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Number of records.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Flushes the output.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        // Rejected records belong to no tick.
        self.output.as_mut().map_or(Ok(()), |output| output.flush(0))
    }

    /// Closes the output.
    pub fn close(&mut self) -> Result<(), SinkError> {
        self.output.as_mut().map_or(Ok(()), |output| output.close())
    }

    /// [`Sink::release`] of the output.
    pub fn release(&mut self) -> Result<(), SinkError> {
        self.output.as_mut().map_or(Ok(()), |output| output.release())
    }
}

/// Characters of a record in the log. The output has more.
const LOGGED_CHARACTERS: usize = 200;

/// Logs a record with its position as fields, so that a log collector need not parse the text.
fn warn(reason: &str, rejected: &Rejected) {
    let (line, byte, partition, offset) = match rejected.position {
        Position::Line { line, byte } => (Some(line), Some(byte), None, None),
        Position::Offset { partition, offset } => (None, None, Some(partition), Some(offset)),
    };
    let Rejected { source, record, .. } = rejected;
    let record = match record.char_indices().nth(LOGGED_CHARACTERS) {
        Some((end, _)) => format!("{}...", &record[..end]),
        None => record.clone(),
    };
    let message = format!("{}: {} (logged once for each reason)", rejected.place(), rejected.reason);
    tracing::warn!(reason, source, line, byte, partition, offset, record, "{message}");
}
