use std::collections::BTreeMap;

use schema::Rejected;

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
            tracing::warn!(reason = code, "{}: {} (logged once for each reason)", rejected.place(), rejected.reason);
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
