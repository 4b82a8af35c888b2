use std::io::{self, Write};
use std::mem;

use serde::Serialize;

use super::Output;
use crate::error::sink_error;
use crate::{Sink, SinkError};

/// JSON lines in a file or on stdout, one record a line. A [`Sink`] for every kind of record.
pub struct Lines {
    name: String,
    output: Output,
    /// One line, so that only whole lines reach the output.
    line: Vec<u8>,
    /// Whether there are records since the last flush. An empty flush would still add bytes to a compressed file.
    dirty: bool,
    acknowledged: Option<u64>,
    /// Whether there has been a record.
    started: bool,
    closed: bool,
}

impl Lines {
    pub(crate) fn new(name: String, output: Output) -> Self {
        Lines { name, output, line: Vec::new(), dirty: false, acknowledged: None, started: false, closed: false }
    }

    /// Writes one record. May buffer.
    pub fn write(&mut self, record: &impl Serialize) -> Result<(), SinkError> {
        (self.dirty, self.started) = (true, true);
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, record).map_err(io::Error::from);
        self.line.push(b'\n');
        let line = &self.line;
        written.and_then(|()| self.output.write_all(line)).map_err(|error| sink_error(&self.name, "write", error))
    }

    /// Passes buffered records to the operating system.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        if mem::take(&mut self.dirty) {
            self.output.flush().map_err(|error| sink_error(&self.name, "write", error))?;
        }
        Ok(())
    }

    /// Writes the end of a compressed file and flushes. Closing again has no effect.
    pub fn close(&mut self) -> Result<(), SinkError> {
        if !self.closed {
            self.output.finish().map_err(|error| sink_error(&self.name, "finish the file", error))?;
            self.closed = true;
        }
        Ok(())
    }
}

impl<R: Serialize> Sink<R> for Lines {
    fn name(&self) -> &str {
        &self.name
    }

    fn write(&mut self, record: &R) -> Result<(), SinkError> {
        Lines::write(self, record)
    }

    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        Lines::flush(self)?;
        self.acknowledged = self.acknowledged.max(Some(at));
        Ok(())
    }

    fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Lines::close(self)
    }

    fn release(&mut self) -> Result<(), SinkError> {
        if self.started { Lines::close(self) } else { Ok(()) }
    }
}
