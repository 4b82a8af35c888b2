//! What an existing output contains, for a run that resumes from a snapshot.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use schema::ListKey;
use serde::Deserialize;

use super::{Lines, Output, compress, create_file};
use crate::error::sink_error;
use crate::open::create_output;
use crate::transports::{Packing, decompress};
use crate::{Compression, Format, KafkaOptions, OpenError, Sink, SinkError, Uri, kafka};

/// The lists that an output contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Items of each list that is not empty, best first.
    pub lists: Vec<(ListKey, Vec<String>)>,
    /// The newest tick of any record, in milliseconds; 0 without records.
    pub at: u64,
}

/// The parts of a [`schema::Change`] that a [`SinkState`] needs.
#[derive(Deserialize)]
pub(crate) struct ChangeSummary {
    #[serde(rename = "user")]
    pub(crate) key: ListKey,
    at: u64,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

/// Opens an output of changes for appending and reads the lists that it contains.
///
/// A file is read from the start, at some hundred MB/s. An incomplete last line, from a run that was killed, is removed. A
/// compressed file is compressed again. A missing file is created. The contents of stdout are unknown.
///
/// Of a topic the latest record of each key is read, after all other writers have been fenced off. A missing topic is created.
pub fn continue_sink(uri: &Uri, kafka: &KafkaOptions) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    if let Uri::Kafka(address) = uri {
        return kafka::continue_sink(address, kafka);
    }
    let mut state = SinkStateBuilder::default();
    let output = continue_file(uri, |line| serde_json::from_slice(line).map(|change| state.apply(change)))?;
    Ok((Box::new(Lines::new(uri.to_string(), output)), state.build()))
}

/// Opens an output of lines of any kind for appending.
pub(super) fn append(uri: &Uri) -> Result<Output, OpenError> {
    continue_file(uri, |_| Ok(()))
}

/// Opens a file for appending, passes each of its lines to `see`, and removes an incomplete last line.
fn continue_file(uri: &Uri, mut see: impl FnMut(&[u8]) -> Result<(), serde_json::Error>) -> Result<Output, OpenError> {
    let Uri::File { path, format: Format::JsonLines, compression } = uri else { return create_output(uri) };
    let name = uri.to_string();
    let failed = |error| sink_error(&name, "append to the file", error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return create_output(uri),
        Err(error) => return Err(failed(error).into()),
    };
    let mut number = 0_u64;
    let mut see = |line: &[u8]| {
        number += 1;
        see(line).map_err(|error| SinkError {
            sink_name: name.clone(),
            what: format!("line {number} is not a change of a list ({error})"),
            advice: "this is not the output of the resumed run: name that output, or a new file".into(),
            closed: false,
            cause: None,
        })
    };
    if *compression == Compression::Plain {
        let whole = each_line(file, |line| see(line), failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
        return Ok(compress(file, Compression::Plain).map_err(failed)?);
    }
    // A truncated compressed file cannot be continued: its lines are compressed again.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".continued");
    let mut output = create_file(Path::new(&beside), *compression).map_err(failed)?;
    let lines = decompress(file, Packing::of(Some(*compression), *compression));
    each_line(lines, |line| see(line).and_then(|()| output.write_all(line).map_err(failed)), failed)?;
    output.flush().map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    Ok(output)
}

/// Reads whole lines up to the end, or up to the truncation of a compressed file. Returns the number of their bytes.
fn each_line(
    bytes: impl Read,
    mut see: impl FnMut(&[u8]) -> Result<(), SinkError>,
    failed: impl Fn(io::Error) -> SinkError,
) -> Result<u64, SinkError> {
    let mut lines = BufReader::with_capacity(1 << 20, bytes);
    let mut length = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Err(error) if !is_truncated(&error) => return Err(failed(error)),
            _ if line.last() != Some(&b'\n') => return Ok(length),
            _ => {}
        }
        see(&line)?;
        length += line.len() as u64;
    }
}

/// Collects a [`SinkState`].
#[derive(Default)]
pub(crate) struct SinkStateBuilder {
    lists: HashMap<ListKey, Vec<String>>,
    at: u64,
}

impl SinkStateBuilder {
    pub(crate) fn apply(&mut self, ChangeSummary { key, at, items }: ChangeSummary) {
        self.at = self.at.max(at);
        if items.is_empty() {
            self.lists.remove(&key);
        } else {
            self.lists.insert(key, items.into_iter().map(|item| item.item).collect());
        }
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn remove(&mut self, key: &ListKey) {
        self.lists.remove(key);
    }

    pub(crate) fn build(self) -> SinkState {
        SinkState { lists: self.lists.into_iter().collect(), at: self.at }
    }
}

/// Whether a compressed file ends within a block, or with bytes of an incomplete one.
fn is_truncated(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other
    )
}
