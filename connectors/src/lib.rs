//! Sources and sinks: everything between the outside world and [`schema`]'s vocabulary.
//!
//! A [`Source`] fills [`Batch`]es with raw events in its own order and sets bad records aside; a [`Sink`] takes
//! changes and says up to where they are safe. Transport (file, stdin, compression) and format (JSON lines, CSV)
//! are apart. Nothing here knows the graph.

mod batch;
pub mod generate;
mod sink;
mod source;

pub use batch::{Batch, RawEvent};
pub use generate::{Generated, Generator};
pub use sink::{Sink, SinkError};
pub use source::{Polled, Source, SourceError};
