use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schema::{scheme_without_slashes, shown};

/// Format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON lines, one object a line.
    JsonLines,
    /// Delimited text, with a header or without.
    Csv,
    /// Apache Parquet, an input only.
    Parquet,
}

/// Compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// No compression.
    Plain,
    /// gzip, one or more members.
    Gzip,
    /// Zstandard, one or more frames.
    Zstd,
}

/// An input or an output, as the user gave it. The extensions of a file decide its format and compression.
///
/// ```
/// use connectors::{Compression, Format, Uri};
///
/// let uri: Uri = "logs/monday.csv.gz".parse().unwrap();
/// assert_eq!(
///     uri,
///     Uri::File { path: "logs/monday.csv.gz".into(), format: Format::Csv, compression: Compression::Gzip }
/// );
/// assert!("monday.parquet".parse::<Uri>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Uri {
    /// A file.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Format, from the first extension.
        format: Format,
        /// Compression, from the last extension.
        compression: Compression,
    },
    /// `-`: stdin or stdout.
    Stdio,
    /// `generate:`, with the text after the colon.
    Generate(String),
    /// `kafka://`, with the text after the slashes.
    Kafka(String),
}

/// A URI that is not an input or an output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {expected}{}", shown(&schema::redact_uris(.uri)), hint(.uri))]
pub struct UriError {
    /// The URI, as the user gave it.
    pub uri: String,
    /// What it could be, with the choices.
    pub expected: &'static str,
}

/// What a URI could be.
const ANY: &str = "an input or output: use PATH.jsonl or PATH.csv (each also with .gz or .zst), - for stdin and stdout, \
                   kafka://BROKERS/TOPIC or generate:";
const INPUT: &str = "an input: use PATH.jsonl or PATH.csv (each also with .gz or .zst), - for stdin, \
                     kafka://BROKERS/TOPIC or generate:";
const OUTPUT: &str = "an output: use PATH.jsonl (also with .gz or .zst), - for stdout, or kafka://BROKERS/TOPIC";
const LINES: &str = "an output here: use PATH.jsonl (also with .gz or .zst), or - for stdout";

/// A file that is not an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` has an unknown extension: name its format, as in {}?format=csv or ?format=json (known are .jsonl, .ndjson, .json, \
     .csv, .tsv, .dat and .txt, each also with .gz or .zst, and .parquet)",
    shown(.path), shown(.path)
)]
pub struct FormatError {
    /// The path, as the user gave it.
    pub path: String,
}

/// What a URI is probably meant to be.
fn hint(uri: &str) -> &'static str {
    match scheme_without_slashes(uri) {
        Some(scheme) if scheme.eq_ignore_ascii_case("kafka") => "; here two slashes are missing",
        _ if uri.starts_with("generate:") => "; generate: is an input only",
        _ if uri.starts_with("file:") => "; name a file by its path alone",
        Some(_) => "; a file of this name is ./NAME",
        None => "",
    }
}

impl Uri {
    /// Parses an input without its options, and returns whether its format is known. That of stdin and other pipes is JSON
    /// lines unless another is named.
    pub(crate) fn of_input(text: &str) -> Result<(Self, bool), UriError> {
        if matches!(text, "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
            return Ok((Uri::Stdio, true));
        }
        if text.is_empty() || text == "-" || text.starts_with("generate:") || is_uri(text) {
            return Ok((text.parse().map_err(|error| UriError { expected: INPUT, ..error })?, true));
        }
        let path = PathBuf::from(text);
        let (stem, compression) = compression(text);
        let extension = stem.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        let is_pipe = || std::fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let (format, is_known) = match extension.as_deref() {
            Some("jsonl" | "ndjson" | "json") => (Format::JsonLines, true),
            Some("csv" | "tsv" | "tab" | "dat" | "txt") => (Format::Csv, true),
            Some("parquet") => (Format::Parquet, true),
            _ => (Format::JsonLines, is_pipe()),
        };
        Ok((Uri::File { path, format, compression }, is_known))
    }

    /// Parses an output of a run. A pipe or a device takes JSON lines, whatever it is called.
    pub fn of_output(text: &str) -> Result<Self, UriError> {
        match Uri::of_lines(text) {
            Err(error) => match text.parse() {
                Ok(topic @ Uri::Kafka(_)) => Ok(topic),
                _ => Err(UriError { expected: OUTPUT, ..error }),
            },
            parsed => parsed,
        }
    }

    /// Parses an output that takes lines of any kind: a file, a pipe, a device or stdout.
    pub fn of_lines(text: &str) -> Result<Self, UriError> {
        // Opened by its name, it would have a position of its own and lose what a shell's `>>` keeps.
        if matches!(text, "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") {
            return Ok(Uri::Stdio);
        }
        match text.parse() {
            Ok(uri @ (Uri::Stdio | Uri::File { format: Format::JsonLines, .. })) => Ok(uri),
            _ if std::fs::metadata(text).is_ok_and(|found| !found.is_file() && !found.is_dir()) => {
                Ok(Uri::File { path: text.into(), format: Format::JsonLines, compression: Compression::Plain })
            }
            _ => Err(UriError { uri: text.to_owned(), expected: LINES }),
        }
    }

    /// The delimiter of CSV if none is named.
    pub(crate) fn delimiter(&self) -> &'static str {
        let Uri::File { path, .. } = self else { return "," };
        let text = path.to_string_lossy().to_ascii_lowercase();
        let (stem, _) = compression(&text);
        if matches!(stem.rsplit_once('.'), Some((_, "tsv" | "tab"))) { "\t" } else { "," }
    }
}

/// Whether a text is a URI, perhaps of an unknown scheme or with a slash missing. It would otherwise be taken for a path.
fn is_uri(text: &str) -> bool {
    text.contains("://") || scheme_without_slashes(text).is_some()
}

/// The path without the extension of its compression.
fn compression(path: &str) -> (&str, Compression) {
    match path.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst")) => (stem, Compression::Zstd),
        _ => (path, Compression::Plain),
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text == "-" {
            return Ok(Uri::Stdio);
        }
        if let Some(rest) = text.strip_prefix("generate:") {
            return Ok(Uri::Generate(rest.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("kafka://") {
            return Ok(Uri::Kafka(rest.to_owned()));
        }
        let error = || UriError { uri: text.to_owned(), expected: ANY };
        if is_uri(text) {
            return Err(error());
        }
        let (stem, compression) = compression(text);
        let format = match stem.rsplit_once('.') {
            Some((_, "jsonl" | "ndjson")) => Format::JsonLines,
            Some((_, "csv")) => Format::Csv,
            _ => return Err(error()),
        };
        Ok(Uri::File { path: PathBuf::from(text), format, compression })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uri::File { path, .. } => write!(f, "{}", path.display()),
            Uri::Stdio => f.write_str("-"),
            Uri::Generate(rest) => write!(f, "generate:{rest}"),
            Uri::Kafka(rest) => write!(f, "kafka://{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (Format, Compression) {
        match text.parse() {
            Ok(Uri::File { path, format, compression }) => {
                assert_eq!(path, PathBuf::from(text));
                (format, compression)
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_extensions_of_a_file_decide_its_format() {
        assert_eq!(file("a.jsonl"), (Format::JsonLines, Compression::Plain));
        assert_eq!(file("a.ndjson.gz"), (Format::JsonLines, Compression::Gzip));
        assert_eq!(file("/tmp/x.y/a.b.jsonl.zst"), (Format::JsonLines, Compression::Zstd));
        assert_eq!(file("a.csv"), (Format::Csv, Compression::Plain));
        assert_eq!(file("./a.csv.gz"), (Format::Csv, Compression::Gzip));
        assert_eq!(file("a.csv.zst"), (Format::Csv, Compression::Zstd));
    }

    #[test]
    fn other_inputs_keep_their_text() {
        for text in ["-", "generate:", "generate:users=5,seed=1", "kafka://a:9092,b/topic", "x.csv"] {
            assert_eq!(text.parse::<Uri>().unwrap().to_string(), text);
        }
        assert_eq!("generate:seed=1".parse(), Ok(Uri::Generate("seed=1".into())));
    }

    #[test]
    fn rejects_anything_else_and_lists_the_choices() {
        for text in [
            "",
            "a",
            "a.json",
            "a.gz",
            "a.csv.bz2",
            "s3://bucket/a.csv",
            "csv",
            "a.CSV",
            "a.jsonl/",
            "kafka:b/t",
            "kafka:/b/t",
            "s3:b/x.csv",
            "http:b.csv",
            "http:/b.csv",
            "file:x.csv",
            "FILE:x.csv",
            "file:///x.csv",
        ] {
            assert!(Uri::of_input(text).is_err() || !is_uri(text), "{text}");
            let error = text.parse::<Uri>().expect_err(text).to_string();
            for part in [".jsonl", ".csv", ".gz", ".zst", "kafka://", "generate:", text] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
