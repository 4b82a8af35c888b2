//! Sources and sinks: everything between the outside world and the vocabulary of [`schema`].
//!
//! A [`Source`] fills [`Batch`]es with records in its own order and rejects bad ones; a [`Sink`] writes records and reports
//! which of them are safe. A source is a transport that yields bytes and positions, and a decoder that makes records of a kind
//! ([`Record`]) from the bytes. Nothing here knows the graph.
//!
//! | module | contents |
//! | --- | --- |
//! | `uri`, `input_uri`, `options`, `open`, `error` | from a URI with options to a source or a sink, and what can fail |
//! | `source`, `batch`, `text` | the interface of sources |
//! | `transports` | files and stdin: decompression, read buffer, positions, limits |
//! | `formats`, `values` | JSON lines and CSV: bytes to the values of columns |
//! | `records` | kinds of records: values of columns to a record, or the reason of a rejection |
//! | `decode` | a format and a kind of record: bytes to a record |
//! | `parquet` | Parquet files as sources |
//! | `sink` | the interface of sinks |
//! | `sinks` | files and stdout: JSON lines, rejected records, what an existing output contains |
//! | `kafka` | topics as sources and sinks |
//! | `throttle` | limits log records that others cause |
//!
//! A new kind of record to read is a file in `records`, a new kind to write an implementation of [`SinkRecord`].

mod batch;
mod decode;
mod error;
mod formats;
mod input_uri;
mod kafka;
mod open;
mod options;
mod parquet;
mod records;
mod sink;
mod sinks;
mod source;
mod text;
mod throttle;
mod transports;
mod uri;
mod values;

pub use batch::Batch;
pub use error::OpenError;
pub use formats::csv::Dialect;
pub use input_uri::InputUri;
pub use kafka::{
    Delivery, KafkaOptions, SecretPlace, SecretText, Security, TopicClaim, check_options, check_secret_file,
    is_same_topic, wrong_option,
};
pub use open::{begins_as_before, continue_sink, lines_into, open_lines, open_sink, open_source, source_from};
pub use options::InputOptions;
pub use records::Record;
pub use records::columns::{Columns, ColumnsError};
pub use records::control::{ControlRecords, RawControl};
pub use records::control_columns::ControlColumns;
pub use records::event::RawEvent;
pub use records::filter::{Filter, FilterError};
pub use records::item::{CatalogueRecord, RawItem};
pub use records::item_columns::ItemColumns;
pub use sink::{Sink, SinkError};
pub use sinks::{Lines, OutputClaim, RejectLog, SinkRecord, SinkState};
pub use source::{Fingerprint, Polled, Source, SourceError, SourcePosition};
pub use throttle::{LOG_INTERVAL, LogThrottle};
pub use uri::{Compression, Format, FormatError, Uri, UriError};
