use std::io::{self, Read, Write};

use crate::csv::{Csv, Header};
use crate::error::{sink_error, source_error};
use crate::json::Json;
use crate::lines::{ChangeLines, Lines};
use crate::mapping::RecordMapping;
use crate::read_buffer::ReadBuffer;
use crate::records::Records;
use crate::{Compression, Format, InputOptions, OpenError, Sink, SinkError, Source, Uri, input, output};

/// Opens an input. Of a CSV file the header is read at once; nothing else is.
///
/// `generate:` is not opened here: whoever has a simulation resolves it first.
pub fn open_source(uri: &Uri, options: &InputOptions) -> Result<Box<dyn Source>, OpenError> {
    let name = uri.to_string();
    match uri {
        Uri::File { path, format, compression } => {
            let bytes = input::open_file(path, *compression).map_err(|error| source_error(&name, None, error))?;
            read(name, bytes, *format, options)
        }
        Uri::Stdio => read(name, Box::new(io::stdin()), Format::JsonLines, options),
        Uri::Generate(_) => Err(unsupported(name, "is no file", "generated events are available as an input of `run`")),
        #[cfg(feature = "kafka")]
        Uri::Kafka(rest) => {
            let address = crate::kafka::Address::parse(rest)?;
            Ok(Box::new(crate::kafka::Topic::open(&name, address, options)?))
        }
        #[cfg(not(feature = "kafka"))]
        Uri::Kafka(_) => Err(no_kafka(name)),
    }
}

/// A source on bytes from anywhere.
pub fn source_from(
    name: &str,
    bytes: impl Read + Send + 'static,
    format: Format,
    compression: Compression,
    options: &InputOptions,
) -> Result<Box<dyn Source>, OpenError> {
    let bytes = input::unpack(bytes, compression).map_err(|error| source_error(name, None, error))?;
    read(name.to_owned(), bytes, format, options)
}

/// Opens an output for changes: JSON lines to a new file, which replaces an existing one, or to stdout.
pub fn open_sink(uri: &Uri) -> Result<Box<dyn Sink>, OpenError> {
    Ok(Box::new(ChangeLines::new(uri.to_string(), open_output(uri)?)))
}

/// Opens a file or stdout for JSON lines of anything.
pub fn open_lines(uri: &Uri) -> Result<Lines, OpenError> {
    Ok(Lines::new(uri.to_string(), open_output(uri)?))
}

/// JSON lines of anything to a writer of any kind.
pub fn lines_into(
    name: &str,
    writer: impl Write + Send + 'static,
    compression: Compression,
) -> Result<Lines, SinkError> {
    let output = output::pack(writer, compression).map_err(|error| sink_error(name, "open the output", error))?;
    Ok(Lines::new(name.to_owned(), output))
}

pub(crate) fn open_output(uri: &Uri) -> Result<output::Output, OpenError> {
    let name = uri.to_string();
    match uri {
        Uri::File { format: Format::Csv, .. } => Err(unsupported(
            name,
            "a list does not fit into CSV",
            "write JSON lines: PATH.jsonl, .jsonl.gz or .jsonl.zst",
        )),
        Uri::File { path, compression, .. } => output::create_file(path, *compression)
            .map_err(|error| OpenError::Sink(sink_error(&name, "create the file", error))),
        Uri::Stdio => {
            Ok(output::pack(io::stdout(), Compression::Plain)
                .map_err(|error| sink_error(&name, "open stdout", error))?)
        }
        Uri::Generate(_) => Err(unsupported(name, "is an input only", "write to PATH.jsonl or - (stdout)")),
        #[cfg(feature = "kafka")]
        Uri::Kafka(_) => Err(unsupported(name, "a topic takes lists and rejected records only", "write to PATH.jsonl")),
        #[cfg(not(feature = "kafka"))]
        Uri::Kafka(_) => Err(no_kafka(name)),
    }
}

fn read(
    name: String,
    bytes: input::Input,
    format: Format,
    options: &InputOptions,
) -> Result<Box<dyn Source>, OpenError> {
    let mut window = ReadBuffer::new(bytes);
    let limit = options.max_record_bytes.clamp(1, InputOptions::MOST_RECORD_BYTES);
    match format {
        Format::JsonLines => {
            let plan = RecordMapping::new(options, true, true, options.rooms)?;
            Ok(Box::new(Records::new(name, window, Json::new(plan), limit)))
        }
        Format::Csv => {
            let header = Header::read(&mut window, limit)
                .map_err(|error| source_error(&name, Some(window.position()), error))?;
            let plan = plan_for(&name, &header.names, options)?;
            Ok(Box::new(Records::new(name, window, Csv::new(plan, header), limit)))
        }
    }
}

/// Compares what is to be read with what a CSV file has.
fn plan_for(name: &str, header: &[String], options: &InputOptions) -> Result<RecordMapping, OpenError> {
    let dwell_ms = &options.columns.dwell_ms;
    let (room, room_is_named) = &options.columns.room;
    let (has_dwell_ms, has_room) = (header.contains(&dwell_ms.source), header.contains(room));
    let reads_room = *room_is_named || (options.rooms && has_room);
    let plan = RecordMapping::new(options, false, dwell_ms.named || has_dwell_ms, reads_room)?;
    if header.is_empty() {
        tracing::warn!("{name}: the file is empty, it has not even a header");
        return Ok(plan);
    }
    let missing: Vec<String> = plan.sources.iter().filter(|source| !header.contains(source)).cloned().collect();
    if !missing.is_empty() {
        return Err(OpenError::NoColumn { source_name: name.to_owned(), missing, header: header.to_vec() });
    }
    if let Some(column) = plan.sources.iter().find(|source| header.iter().filter(|name| name == source).count() > 1) {
        return Err(OpenError::RepeatedColumn { source_name: name.to_owned(), column: column.clone() });
    }
    let column = &options.columns.action;
    match &options.action {
        Some(action) if header.contains(column) => {
            Err(OpenError::ActionTwice { source_name: name.to_owned(), action: action.clone(), column: column.clone() })
        }
        _ => Ok(plan),
    }
}

fn unsupported(uri: String, what: &'static str, advice: &'static str) -> OpenError {
    OpenError::Unsupported { uri, what, advice }
}

#[cfg(not(feature = "kafka"))]
pub(crate) fn no_kafka(uri: String) -> OpenError {
    unsupported(
        uri,
        "this deltarec was built without Kafka",
        "build it with the feature `kafka`, which is on by default",
    )
}
