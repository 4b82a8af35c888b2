//! Files and stdout as sinks, what an existing output contains, and the kinds of records that sinks write.

mod claim;
mod compress;
mod file_claim;
mod lines;
mod output_file;
mod record;
mod rejects;
mod resume;

pub use self::claim::OutputClaim;
use self::compress::Output;
pub(crate) use self::compress::compress;
pub use self::lines::Lines;
pub(crate) use self::record::Keyed;
pub use self::record::SinkRecord;
pub use self::rejects::RejectLog;
pub use self::resume::SinkState;
#[cfg(feature = "kafka")]
pub(crate) use self::resume::{ChangeSummary, SinkStateBuilder};
