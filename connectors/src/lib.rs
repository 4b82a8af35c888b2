//! Sources and sinks: everything between the outside world and [`schema`]'s vocabulary.
//!
//! A [`Source`] fills [`Batch`]es with raw events in its own order and sets bad records aside; a [`Sink`] takes
//! changes and says up to where they are safe. Transport (file, stdin, compression) and format (JSON lines, CSV)
//! are apart. Nothing here knows the graph.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `uri` | what an input or output is called |
//! | `input`, `output` | bytes in and out, compression |
//! | `window` | bytes read and not yet used, line and byte numbers |
//! | `records` | records told apart, limits, resuming: the [`Source`] for files and stdin |
//! | `json`, `csv` | a record's bytes to the values of its columns |
//! | `columns`, `time`, `filter` | what `--columns` and `--where` say |
//! | `plan`, `value` | the values of a record to an event, or the reason why not |
//! | `kafka` | topics in and out |
//! | `lines`, `rejects` | JSON lines out: changes, rejected records |
//! | `open`, `options`, `error` | from a URI to a source or a sink, and what can go wrong |

mod batch;
mod columns;
mod csv;
mod error;
mod filter;
mod input;
mod json;
mod kafka;
mod lines;
mod mapping;
mod open;
mod options;
mod output;
mod read_buffer;
mod records;
mod rejects;
mod resume;
mod sink;
mod source;
mod time;
mod uri;
mod value;

pub use batch::{Batch, RawEvent};
pub use columns::{Columns, ColumnsError};
pub use error::OpenError;
pub use filter::{Filter, FilterError};
pub use kafka::{Delivery, KafkaOptions, SecretPlace, Security};
pub use lines::Lines;
pub use open::{lines_into, open_lines, open_sink, open_source, source_from};
pub use options::InputOptions;
pub use rejects::RejectLog;
pub use resume::{SinkState, continue_sink};
pub use sink::{Sink, SinkError};
pub use source::{Polled, Source, SourceError, SourcePosition};
pub use uri::{Compression, Format, Uri, UriError};
