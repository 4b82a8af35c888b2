use std::collections::BTreeMap;

use schema::Rejected;

use crate::held::continue_output;
use crate::lines::Lines;
use crate::open::open_output;
use crate::{OpenError, SinkError, Uri};

/// Where rejected records end up: counted by reason, the first of each reason logged, all of them written to an
/// output when there is one.
#[derive(Default)]
pub struct RejectLog {
    counts: BTreeMap<String, u64>,
    total: u64,
    lines: Option<Lines>,
    /// Whether anything was written since the last flush: an empty one would still cost a packed file some bytes.
    dirty: bool,
}

impl RejectLog {
    /// With an output, if given: JSON lines in a file or on stdout.
    pub fn open(uri: Option<&Uri>) -> Result<Self, OpenError> {
        let lines = uri.map(|uri| Ok::<_, OpenError>(Lines::new(uri.to_string(), open_output(uri)?))).transpose()?;
        Ok(RejectLog { lines, ..RejectLog::default() })
    }

    /// [`RejectLog::open`], to go on with a file that is there already.
    pub fn go_on(uri: Option<&Uri>) -> Result<Self, OpenError> {
        let lines =
            uri.map(|uri| Ok::<_, OpenError>(Lines::new(uri.to_string(), continue_output(uri)?))).transpose()?;
        Ok(RejectLog { lines, ..RejectLog::default() })
    }

    /// Takes one record. It is counted even when the output fails.
    pub fn record(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        let code = rejected.reason.code();
        self.total += 1;
        if !self.counts.contains_key(&code) {
            tracing::warn!(
                reason = code,
                "{}:{}: {} (logged once for each reason)",
                rejected.source,
                rejected.position.line,
                rejected.reason
            );
        }
        *self.counts.entry(code).or_default() += 1;
        self.dirty = true;
        self.lines.as_mut().map_or(Ok(()), |lines| lines.write(rejected))
    }

    /// How many records there were of each [`schema::Reason::code`].
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        let dirty = std::mem::take(&mut self.dirty);
        self.lines.as_mut().filter(|_| dirty).map_or(Ok(()), Lines::flush)
    }

    /// Writes what the output needs at its end.
    pub fn close(&mut self) -> Result<(), SinkError> {
        self.lines.as_mut().map_or(Ok(()), Lines::close)
    }
}
