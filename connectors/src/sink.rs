use schema::Change;

/// A sink failed.
#[derive(Debug, thiserror::Error)]
#[error("{sink_name}: {what}; {advice}")]
pub struct SinkError {
    /// Name of the output, as the user gave it.
    pub sink_name: String,
    /// Description of the failure.
    pub what: String,
    /// Advice to the user.
    pub advice: String,
    /// Whether the reader of a pipe closed it. This ends a run and is not a failure.
    pub closed: bool,
    /// Underlying error; `what` includes its text.
    pub cause: Option<std::io::Error>,
}

/// An output for records of kind `R`: a file, stdout or a topic.
///
/// One thread writes, in the order of ticks. Sinks are opened with [`open_sink`](crate::open_sink), or written for a
/// special output:
///
/// ```
/// use connectors::{Sink, SinkError};
/// use schema::{Change, ListKey};
///
/// /// Counts the lists of users.
/// #[derive(Default)]
/// struct Count(u64);
///
/// impl Sink for Count {
///     fn name(&self) -> &str {
///         "count"
///     }
///
///     fn write(&mut self, change: &Change) -> Result<(), SinkError> {
///         self.0 += u64::from(matches!(change.key, ListKey::User(_)));
///         Ok(())
///     }
/// }
///
/// let mut sink = Count::default();
/// let key = ListKey::User("u1".into());
/// sink.write(&Change { key, at: 7, items: vec![], entered: vec![], left: vec![] })?;
/// sink.flush(7)?;
/// assert_eq!(sink.0, 1);
/// # Ok::<(), SinkError>(())
/// ```
pub trait Sink<R = Change>: Send {
    /// Name of the output, as the user gave it, for messages.
    fn name(&self) -> &str;

    /// Writes one record. May buffer; may block when the output is slow.
    fn write(&mut self, record: &R) -> Result<(), SinkError>;

    /// Flushes buffered records. All records up to and including tick `at` (ms) have been written. The default is for a sink
    /// without a buffer.
    fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
        Ok(())
    }

    /// Housekeeping. Call it regularly while nothing is written; it reports asynchronous failures of earlier writes.
    fn maintain(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The newest tick up to which the output has confirmed every record, if it confirms records.
    fn acknowledged(&self) -> Option<u64> {
        None
    }

    /// Writes the end of the format (the trailer of a compressed file) and flushes. Closing again has no effect.
    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Closes the output of a run that has no results. What a file held before stays if nothing was written to it.
    fn release(&mut self) -> Result<(), SinkError> {
        self.close()
    }
}
