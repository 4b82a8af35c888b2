//! What an existing output contains, for a run that resumes from a snapshot.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use schema::ListKey;
use serde::Deserialize;

use super::file_claim::{FileClaim, lock};
use super::output_file::OutputFile;
use super::{Output, compress};
use crate::error::sink_error;
use crate::transports::{Packing, decompress};
use crate::{Compression, OpenError, SinkError};

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

/// Opens a file of changes for appending and reads the lists that it contains.
pub(super) fn lists(file: &FileClaim, name: &str) -> Result<(Output, SinkState), OpenError> {
    let mut state = SinkStateBuilder::default();
    let output = continue_file(file, name, |line| serde_json::from_slice(line).map(|change| state.apply(change)))?;
    Ok((output, state.build()))
}

/// Opens a file of lines of any kind for appending.
pub(super) fn end(file: &FileClaim, name: &str) -> Result<Output, OpenError> {
    continue_file(file, name, |_| Ok(()))
}

/// Opens a file for appending, passes each of its lines to `see`, and removes an incomplete last line.
fn continue_file(
    claim: &FileClaim,
    name: &str,
    mut see: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
) -> Result<Output, OpenError> {
    let failed = |error| sink_error(name, "append to the file", error);
    let compression = claim.compression;
    if !claim.is_regular() {
        return Ok(claim.replacing(name)?);
    }
    let mut output = claim.open(name)?;
    // The file itself and not a link to it: the new file of a compressed output takes its place.
    let path = claim.path.canonicalize().map_err(failed)?;
    let file = File::open(&path).map_err(failed)?;
    let mut number = 0_u64;
    let mut see = |line: &[u8]| {
        number += 1;
        see(line).map_err(|error| SinkError {
            sink_name: name.to_owned(),
            what: format!("line {number} is not a change of a list ({error})"),
            advice: "this is not the output of the resumed run: name that output, or a new file".into(),
            closed: false,
            cause: None,
        })
    };
    if compression == Compression::Plain {
        let whole = each_line(file, |line| see(line), failed)?;
        output.set_len(whole).and_then(|()| output.seek(SeekFrom::End(0))).map_err(failed)?;
        let output = OutputFile::continuing(output, None).map_err(failed)?;
        return Ok(compress(output, compression).map_err(failed)?);
    }
    // A truncated compressed file cannot be continued: its lines are compressed again, into a file that takes its place.
    let mut beside = path.clone().into_os_string();
    beside.push(".continued");
    let new = create_new(Path::new(&beside)).map_err(failed)?;
    new.set_permissions(file.metadata().map_err(failed)?.permissions()).map_err(failed)?;
    lock(name, &new).map_err(|error| error.of(name))?;
    let new = OutputFile::continuing(new, None).map_err(failed)?;
    let mut packed = compress(new, compression).map_err(failed)?;
    let lines = decompress(file, Packing::of(Some(compression), compression));
    let copied = each_line(lines, |line| see(line).and_then(|()| packed.write_all(line).map_err(failed)), failed)
        .and_then(|_| packed.flush().and_then(|()| std::fs::rename(&beside, &path)).map_err(failed));
    if let Err(error) = copied {
        // The output is as it was. What stays of the copy is removed by the next run at the latest.
        drop(std::fs::remove_file(&beside));
        return Err(error.into());
    }
    Ok(packed)
}

/// Creates a file that did not exist. What a killed run left under the name is removed; a link there is not followed.
fn create_new(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(path)
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
