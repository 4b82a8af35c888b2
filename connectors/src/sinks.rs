//! Files and stdout as sinks, what an existing output contains, and the kinds of records that sinks write.

mod compress;
mod lines;
mod record;
mod rejects;
mod resume;

pub(crate) use self::compress::{Output, compress, create_file};
pub use self::lines::Lines;
pub(crate) use self::record::Keyed;
pub use self::record::SinkRecord;
pub use self::rejects::RejectLog;
#[cfg(feature = "kafka")]
pub(crate) use self::resume::{ChangeSummary, SinkStateBuilder};
pub use self::resume::{SinkState, continue_sink};
