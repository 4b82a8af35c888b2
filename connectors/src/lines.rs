use std::io;

use schema::Change;
use serde::Serialize;

use crate::error::sink_error;
use crate::output::Output;
use crate::{Sink, SinkError};

/// JSON lines to one output: whatever can be serialised, each record a line.
pub struct Lines {
    name: String,
    output: Output,
    /// One line, so that the output gets only whole ones.
    line: Vec<u8>,
    closed: bool,
}

impl Lines {
    pub(crate) fn new(name: String, output: Output) -> Self {
        Lines { name, output, line: Vec::new(), closed: false }
    }

    /// Writes one record. May buffer.
    pub fn write(&mut self, record: &impl Serialize) -> Result<(), SinkError> {
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, record).map_err(io::Error::from);
        self.line.push(b'\n');
        written.and_then(|()| self.output.write_all(&self.line)).map_err(|error| sink_error(&self.name, "write", error))
    }

    /// Hands what is buffered to the operating system.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        self.output.flush().map_err(|error| sink_error(&self.name, "write", error))
    }

    /// Writes the end of a packed file and flushes. Closing twice is closing once.
    pub fn close(&mut self) -> Result<(), SinkError> {
        if !self.closed {
            self.output.finish().map_err(|error| sink_error(&self.name, "finish the file", error))?;
            self.closed = true;
        }
        Ok(())
    }
}

/// Changes as JSON lines.
pub(crate) struct ChangeLines {
    lines: Lines,
    /// Whether anything was written since the last flush: an empty one would still cost a packed file some bytes.
    dirty: bool,
    acknowledged: Option<u64>,
}

impl ChangeLines {
    pub(crate) fn new(name: String, output: Output) -> Self {
        ChangeLines { lines: Lines::new(name, output), dirty: false, acknowledged: None }
    }
}

impl Sink for ChangeLines {
    fn name(&self) -> &str {
        &self.lines.name
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        self.dirty = true;
        self.lines.write(change)
    }

    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        if std::mem::take(&mut self.dirty) {
            self.lines.flush()?;
        }
        self.acknowledged = self.acknowledged.max(Some(at));
        Ok(())
    }

    fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn close(&mut self) -> Result<(), SinkError> {
        self.lines.close()
    }
}
