use std::io::{Read, Write};

use schema::shown;

use crate::decode::RecordDecoder;
use crate::error::{sink_error, source_error, unsupported};
use crate::formats::csv::Csv;
use crate::formats::json::Json;
use crate::records::{Layout, Mapping, check_columns, mapping};
use crate::sinks::compress;
use crate::transports::{
    ByteStream, Packing, ReadBuffer, StreamSource, decompress, number_columns, open_file, read_header, stdin,
};
use crate::values::Number;
use crate::{
    Compression, Dialect, Fingerprint, Format, InputOptions, KafkaOptions, Lines, OpenError, OutputClaim, Record, Sink,
    SinkError, SinkRecord, SinkState, Source, SourcePosition, Uri, kafka, parquet,
};

/// Opens an input. Reads the header of a CSV file, or the first record if it has none, and nothing else.
///
/// `generate:` is not an input of this crate: a caller with a simulator resolves it.
///
/// ```
/// use connectors::{Batch, InputOptions, Polled, open_source};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("log.csv");
/// # std::fs::write(&path, "user_id,item,action,ts\nu1,p9,view,1763900000\n").unwrap();
/// # let path = path.to_str().unwrap();
/// let options = InputOptions { columns: "user=user_id,ts=ts:s".parse().unwrap(), ..InputOptions::default() };
/// let mut source = open_source::<schema::Event>(&path.parse().unwrap(), &options)?;
/// let mut batch = Batch::default();
/// while source.poll(&mut batch)? != Polled::Finished {}
/// let event = batch.get(0).unwrap();
/// assert_eq!((event.user, event.ts), ("u1", 1_763_900_000_000));
/// # Ok::<(), connectors::OpenError>(())
/// ```
pub fn open_source<R: Record>(uri: &Uri, options: &InputOptions) -> Result<Box<dyn Source<R>>, OpenError> {
    let name = uri.to_string();
    match uri {
        Uri::File { path, format, .. } if options.format.unwrap_or(*format) == Format::Parquet => {
            parquet::open_source(name, path, options)
        }
        Uri::File { path, format, compression } => {
            let packing = Packing::of(options.compression, *compression);
            let bytes = open_file(path, packing).map_err(|error| source_error(&name, None, error))?;
            decode(name, bytes, options.format.unwrap_or(*format), options, uri.delimiter())
        }
        Uri::Stdio => {
            let bytes = stdin().map_err(|error| source_error(&name, None, error))?;
            let bytes = decompress(bytes, Packing::of(options.compression, Compression::Plain));
            decode(name, bytes, options.format.unwrap_or(Format::JsonLines), options, ",")
        }
        Uri::Generate(_) => {
            Err(unsupported(name, "is not a file", "generated events are available as an input of `run`"))
        }
        Uri::Kafka(address) => kafka::open_source(address, options),
    }
}

/// Whether a file begins with the bytes that were read up to a position. `None`: that is not known, because the position is
/// from before there were fingerprints, it is at the start, or the input is no file. A damaged file is reported when it is read.
pub fn begins_as_before(uri: &Uri, position: &SourcePosition) -> Option<bool> {
    let (Uri::File { path, compression, .. }, SourcePosition::Line { byte, fingerprint, .. }) = (uri, position) else {
        return None;
    };
    let expected = fingerprint.as_ref()?.head;
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    if let Some(head) = parquet::head(path) {
        return Some(head == expected);
    }
    let mut head = Vec::new();
    let length = (Fingerprint::BYTES as u64).min(*byte);
    open_file(path, Packing::of(None, *compression)).ok()?.take(length).read_to_end(&mut head).ok()?;
    Some(head.len() as u64 == length && Fingerprint::hash(&head) == expected)
}

/// A source that reads any byte stream.
pub fn source_from<R: Record>(
    name: &str,
    bytes: impl Read + Send + 'static,
    format: Format,
    compression: Compression,
    options: &InputOptions,
) -> Result<Box<dyn Source<R>>, OpenError> {
    decode(name.to_owned(), decompress(bytes, Packing::of(options.compression, compression)), format, options, ",")
}

/// Opens an output: JSON lines in a file, whose contents are replaced with the first record or at the close, or on stdout;
/// or a topic, which is created if it is missing. [`OutputClaim`] does it in two steps, for several outputs.
///
/// ```
/// use connectors::{KafkaOptions, Sink, open_sink};
/// use schema::{Change, ListKey};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("changes.jsonl");
/// # let path = path.to_str().unwrap();
/// let mut sink = open_sink(&path.parse().unwrap(), &KafkaOptions::default())?;
/// sink.write(&Change { key: ListKey::User("u1".into()), at: 7, items: vec![], entered: vec![], left: vec![] })?;
/// sink.close()?;
/// let line = "{\"user\":\"u1\",\"at\":7,\"items\":[],\"entered\":[],\"left\":[]}\n";
/// assert_eq!(std::fs::read_to_string(path).unwrap(), line);
/// # Ok::<(), connectors::OpenError>(())
/// ```
pub fn open_sink<R: SinkRecord>(uri: &Uri, kafka: &KafkaOptions) -> Result<Box<dyn Sink<R>>, OpenError> {
    OutputClaim::new(uri, kafka)?.open()
}

/// Opens an output of changes for appending and reads the lists that it contains: [`OutputClaim::resume`].
pub fn continue_sink(uri: &Uri, kafka: &KafkaOptions) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    OutputClaim::new(uri, kafka)?.resume()
}

/// Opens a file or stdout for JSON lines of any kind.
pub fn open_lines(uri: &Uri) -> Result<Lines, OpenError> {
    OutputClaim::of_lines(uri)?.lines()
}

/// JSON lines to any writer.
pub fn lines_into(
    name: &str,
    writer: impl Write + Send + 'static,
    compression: Compression,
) -> Result<Lines, SinkError> {
    let output = compress(writer, compression).map_err(|error| sink_error(name, "open the output", error))?;
    Ok(Lines::new(name.to_owned(), output))
}

fn decode<R: Record>(
    name: String,
    bytes: ByteStream,
    format: Format,
    options: &InputOptions,
    delimiter: &str,
) -> Result<Box<dyn Source<R>>, OpenError> {
    let mut buffer = ReadBuffer::new(bytes);
    let limit = options.max_record_bytes.clamp(1, InputOptions::MAX_RECORD_BYTES);
    match format {
        Format::Parquet => {
            Err(unsupported(name, "Parquet is read from its end, so it cannot come from a pipe", "name the file"))
        }
        Format::JsonLines => {
            let mapping = mapping::<R>(options, &name, Layout::Json)?;
            let json = Json::new(mapping.columns(), R::Mapping::WHOLE_VALUES)?;
            Ok(Box::new(StreamSource::new(name, buffer, RecordDecoder::<R, Json>::new(mapping, json), limit)))
        }
        Format::Csv => {
            let mut csv = Csv::new(options.dialect(delimiter)?, limit);
            let read = if options.header { read_header } else { number_columns };
            let names = read(&mut buffer, &mut csv, limit)
                .map_err(|error| source_error(&name, Some(buffer.position()), error))?;
            let mapping = mapping::<R>(options, &name, Layout::Csv(&names))?;
            if names.is_empty() {
                tracing::warn!("{name}: the file is empty and has no header");
            } else {
                check_columns::<R>(&name, &mapping, &names, || hint(&names, csv.dialect(), options.header))?;
            }
            csv.set_columns(&names, mapping.columns());
            Ok(Box::new(StreamSource::new(name, buffer, RecordDecoder::<R, Csv>::new(mapping, csv), limit)))
        }
    }
}

/// What a header without the columns looks like.
fn hint(header: &[String], dialect: &Dialect, has_header: bool) -> String {
    const DELIMITERS: [(&str, &str); 5] =
        [("::", "::"), (";", "semicolon"), ("\t", "tab"), ("|", "pipe"), (",", "comma")];
    if !has_header {
        return "without a header the columns are numbers from 1; ".into();
    }
    let other = |(text, _): &(&str, &str)| text.as_bytes() != dialect.delimiter && header[0].contains(text);
    match DELIMITERS.iter().find(|delimiter| header.len() == 1 && other(delimiter)) {
        Some((text, name)) => {
            format!("the header looks separated by `{}`: add delimiter={name} (--delimiter {name}); ", shown(text))
        }
        None if header.iter().any(|name| Number::parse(name).is_some()) => {
            "the first line looks like a record: if there is no header, add header=no (--header no) and name the columns by \
             their numbers from 1; "
                .into()
        }
        None => String::new(),
    }
}
