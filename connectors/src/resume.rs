//! What an output holds already, when a run goes on where another one ended.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use serde::Deserialize;

use crate::error::sink_error;
use crate::lines::ChangeLines;
use crate::open::open_output;
use crate::{Compression, Format, KafkaOptions, OpenError, Sink, SinkError, Uri, input, output};

/// The lists that an output holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Users with a list that is not empty, and its items, best first.
    pub lists: Vec<(String, Vec<String>)>,
    /// The newest tick of any record, in milliseconds; 0 without records.
    pub at: u64,
}

/// A change as far as it matters here.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) user: String,
    at: u64,
    items: Vec<Item>,
}

impl Record {
    pub(crate) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

/// Opens an output to go on with it, and reads what it holds: the whole file, some hundred MB a second. A last line that
/// was cut off when the run before was killed is removed. A packed file is packed anew, as one that was cut off cannot
/// be continued. A file that is not there is created; stdout holds nothing that could be read. Of a topic the latest record
/// of each key is read, after everybody else who writes it has been shut out; it is created if it is not there.
pub fn continue_sink(uri: &Uri, kafka: &KafkaOptions) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    if let Uri::Kafka(rest) = uri {
        return continue_topic(&uri.to_string(), rest, kafka);
    }
    let mut held = Reading::default();
    let output = continue_file(uri, |line| Record::read(line).map(|record| held.take(record)))?;
    Ok((Box::new(ChangeLines::new(uri.to_string(), output)), held.done()))
}

#[cfg(feature = "kafka")]
fn continue_topic(name: &str, rest: &str, kafka: &KafkaOptions) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    crate::kafka::continue_lists(name, &crate::kafka::Address::parse(rest)?, kafka)
}

#[cfg(not(feature = "kafka"))]
fn continue_topic(name: &str, _: &str, _: &KafkaOptions) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    Err(crate::open::no_kafka(name.to_owned()))
}

/// Opens an output for lines of any kind to go on with it.
pub(crate) fn continue_output(uri: &Uri) -> Result<output::Output, OpenError> {
    continue_file(uri, |_| Ok(()))
}

/// Shows each whole line, and removes what comes after the last.
fn continue_file(
    uri: &Uri,
    mut see: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
) -> Result<output::Output, OpenError> {
    let Uri::File { path, format: Format::JsonLines, compression } = uri else { return open_output(uri) };
    let name = uri.to_string();
    let failed = |error| sink_error(&name, "go on with the file", error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return open_output(uri),
        Err(error) => return Err(failed(error).into()),
    };
    let mut number = 0_u64;
    let mut see = |line: &[u8]| {
        number += 1;
        see(line).map_err(|error| SinkError {
            sink_name: name.clone(),
            what: format!("line {number} is no change of a list ({error})"),
            advice: "this is not the output of the run that is continued: name that, or a new file".into(),
            closed: false,
            cause: None,
        })
    };
    if *compression == Compression::Plain {
        let whole = each_line(file, |line| see(line), failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
        return Ok(output::pack(file, Compression::Plain).map_err(failed)?);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".continued");
    let mut output = output::create_file(Path::new(&beside), *compression).map_err(failed)?;
    let lines = input::unpack(file, *compression).map_err(failed)?;
    each_line(lines, |line| see(line).and_then(|()| output.write_all(line).map_err(failed)), failed)?;
    output.flush().map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    Ok(output)
}

/// Reads whole lines to the end, or to where a packed file was cut off. Returns their bytes.
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
            Err(error) if !is_cut_off(&error) => return Err(failed(error)),
            _ if line.last() != Some(&b'\n') => return Ok(length),
            _ => {}
        }
        see(&line)?;
        length += line.len() as u64;
    }
}

/// What was read so far.
#[derive(Default)]
pub(crate) struct Reading {
    lists: HashMap<String, Vec<String>>,
    at: u64,
}

impl Reading {
    pub(crate) fn take(&mut self, Record { user, at, items }: Record) {
        self.at = self.at.max(at);
        if items.is_empty() {
            self.lists.remove(&user);
        } else {
            self.lists.insert(user, items.into_iter().map(|item| item.item).collect());
        }
    }

    /// The user's list is gone.
    #[cfg(feature = "kafka")]
    pub(crate) fn forget(&mut self, user: &str) {
        self.lists.remove(user);
    }

    pub(crate) fn done(self) -> SinkState {
        SinkState { lists: self.lists.into_iter().collect(), at: self.at }
    }
}

/// A packed file that ends within a block, or with bytes of one that was never finished.
fn is_cut_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other
    )
}
