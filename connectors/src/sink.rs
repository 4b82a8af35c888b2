use schema::Change;

/// A sink that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{sink_name}: {what}; {advice}")]
pub struct SinkError {
    /// The output, as the user named it.
    pub sink_name: String,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// Whether the reader of a pipe went away, which ends a run without being a failure.
    pub closed: bool,
    /// The error beneath; `what` says it already.
    pub cause: Option<std::io::Error>,
}

/// Something changes are written to, by one thread, in the order of their ticks.
pub trait Sink: Send {
    /// The output as the user named it, for messages.
    fn name(&self) -> &str;

    /// Takes one change. May buffer; may wait when the outside world is slow.
    fn write(&mut self, change: &Change) -> Result<(), SinkError>;

    /// Says that all changes up to and including tick `at` (ms) have been written, and hands what is buffered to the
    /// outside world.
    fn flush(&mut self, at: u64) -> Result<(), SinkError>;

    /// To be called now and then while nothing is written: says what went wrong meanwhile with what was.
    fn maintain(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The newest tick up to which the outside world has confirmed everything, if any.
    fn acknowledged(&self) -> Option<u64>;

    /// Writes what a format needs at its end (the trailer of a compressed file) and flushes.
    fn close(&mut self) -> Result<(), SinkError>;
}
