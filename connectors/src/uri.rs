use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON lines, one object a line.
    JsonLines,
    /// Comma-separated values with a header.
    Csv,
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
    /// `-`: stdin or stdout, JSON lines.
    Stdio,
    /// `generate:`, with the text after the colon.
    Generate(String),
    /// `kafka://`, with the text after the slashes.
    Kafka(String),
}

/// A URI that is not an input or an output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not an input or output: use PATH.jsonl or PATH.csv (each also with .gz or .zst), - for stdin and stdout, \
     kafka://BROKERS/TOPIC or generate:",
    schema::redact_uris(uri)
)]
pub struct UriError {
    /// The URI, as the user gave it.
    pub uri: String,
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
        let error = || UriError { uri: text.to_owned() };
        // An unknown scheme would otherwise be taken for a folder.
        if text.contains("://") {
            return Err(error());
        }
        let (stem, compression) = match text.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "zst")) => (stem, Compression::Zstd),
            _ => (text, Compression::Plain),
        };
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
        for text in ["", "a", "a.json", "a.gz", "a.csv.bz2", "s3://bucket/a.csv", "csv", "a.CSV", "a.jsonl/"] {
            let error = text.parse::<Uri>().expect_err(text).to_string();
            for part in [".jsonl", ".csv", ".gz", ".zst", "kafka://", "generate:", text] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
