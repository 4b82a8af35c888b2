use std::io::{self, Read, Write};

use crate::error::{sink_error, source_error, unsupported};
use crate::formats::csv::{Csv, Header};
use crate::formats::json::Json;
use crate::records::mapping;
use crate::sinks::{Stream, compress};
use crate::transports::{ByteStream, ReadBuffer, StreamSource, decompress, open_file};
use crate::{
    Compression, Fingerprint, Format, InputOptions, KafkaOptions, Lines, OpenError, OutputClaim, Record, Sink,
    SinkError, SinkRecord, SinkState, Source, SourcePosition, Uri, kafka,
};

/// Opens an input. Reads the header of a CSV file, and nothing else.
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
        Uri::File { path, format, compression } => {
            let bytes = open_file(path, *compression).map_err(|error| source_error(&name, None, error))?;
            decode(name, bytes, *format, options)
        }
        Uri::Stdio => decode(name, Box::new(io::stdin()), Format::JsonLines, options),
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
    let mut head = Vec::new();
    let length = (Fingerprint::BYTES as u64).min(*byte);
    open_file(path, *compression).ok()?.take(length).read_to_end(&mut head).ok()?;
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
    let bytes = decompress(bytes, compression).map_err(|error| source_error(name, None, error))?;
    decode(name.to_owned(), bytes, format, options)
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
    Ok(Lines::new(name.to_owned(), Stream::Started(output)))
}

fn decode<R: Record>(
    name: String,
    bytes: ByteStream,
    format: Format,
    options: &InputOptions,
) -> Result<Box<dyn Source<R>>, OpenError> {
    let mut buffer = ReadBuffer::new(bytes);
    let limit = options.max_record_bytes.clamp(1, InputOptions::MAX_RECORD_BYTES);
    match format {
        Format::JsonLines => {
            let decoder = Json::<R>::new(mapping::<R>(options, &name, None)?);
            Ok(Box::new(StreamSource::new(name, buffer, decoder, limit)))
        }
        Format::Csv => {
            let header = Header::read(&mut buffer, limit)
                .map_err(|error| source_error(&name, Some(buffer.position()), error))?;
            let decoder = Csv::<R>::new(&name, header, options)?;
            Ok(Box::new(StreamSource::new(name, buffer, decoder, limit)))
        }
    }
}
