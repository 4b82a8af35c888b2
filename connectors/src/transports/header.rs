use std::io;

use super::ReadBuffer;
use crate::error::Explained;
use crate::formats::csv::{Csv, is_blank};
use crate::formats::{End, Framing};

/// Consumes the first record of CSV that is not a blank line: the names of the columns, none for an empty file. A line
/// `sep=;` before it names the delimiter, as spreadsheets write it.
pub(crate) fn read_header(buffer: &mut ReadBuffer, csv: &mut Csv, max_record: usize) -> io::Result<Vec<String>> {
    let Some(length) = find_first(buffer, csv, max_record)? else { return Ok(Vec::new()) };
    if let Some(delimiter) = delimiter_line(&buffer.bytes()[..length]) {
        let dialect = crate::Dialect { delimiter: delimiter.to_vec(), ..csv.dialect().clone() };
        csv.set_dialect(dialect);
        buffer.consume(length);
        return read_header(buffer, csv, max_record);
    }
    let names = csv.names(&buffer.bytes()[..length]);
    if names.iter().any(|name| name.contains('\r')) {
        return Err(Explained::CR_ONLY.into());
    }
    let ended = buffer.bytes().get(length) == Some(&b'\n');
    buffer.consume(length + usize::from(ended));
    Ok(names)
}

/// The names `1`, `2`, ... of the columns of CSV without a header: as many as the first record has. Consumes blank lines.
pub(crate) fn number_columns(buffer: &mut ReadBuffer, csv: &mut Csv, max_record: usize) -> io::Result<Vec<String>> {
    let Some(length) = find_first(buffer, csv, max_record)? else { return Ok(Vec::new()) };
    let fields = csv.names(&buffer.bytes()[..length]);
    if fields.iter().any(|field| field.contains('\r')) {
        return Err(Explained::CR_ONLY.into());
    }
    csv.restart();
    Ok((1..=fields.len()).map(|number| number.to_string()).collect())
}

/// Length of the first record that is not a blank line, without its newline; `None` in an empty stream.
fn find_first(buffer: &mut ReadBuffer, csv: &mut Csv, max_record: usize) -> io::Result<Option<usize>> {
    loop {
        let bytes = buffer.bytes();
        if bytes.is_empty() && buffer.ended() {
            return Ok(None);
        }
        match csv.find_end(bytes, buffer.byte(), buffer.ended()) {
            End::At(length) => {
                let record = bytes[..length].strip_suffix(b"\n").unwrap_or(&bytes[..length]);
                if !is_blank(record) {
                    return Ok(Some(record.len()));
                }
                buffer.consume(length);
            }
            End::Beyond => buffer.fill()?,
            End::TooLong if memchr::memchr(b'\n', bytes).is_none() && memchr::memchr(b'\r', bytes).is_some() => {
                return Err(Explained::CR_ONLY.into());
            }
            End::TooLong => {
                return Err(Explained::header(format!("the header is longer than {max_record} bytes")).into());
            }
            End::Malformed(detail) => return Err(Explained::header(format!("in the header {detail}")).into()),
        }
    }
}

/// The delimiter in a line `sep=;`.
fn delimiter_line(line: &[u8]) -> Option<&[u8]> {
    let delimiter = line.strip_suffix(b"\r").unwrap_or(line).strip_prefix(b"sep=")?;
    (1..=8).contains(&delimiter.len()).then_some(delimiter)
}
