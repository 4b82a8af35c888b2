use crate::{Columns, Compression, ControlColumns, Dialect, Filter, Format, ItemColumns, KafkaOptions, OpenError};

/// Options of an input.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct InputOptions {
    /// Format; `None`: by the extension of a file, JSON lines for stdin.
    pub format: Option<Format>,
    /// Compression; `None`: by the first bytes. If the extension of a file names one, the first bytes must agree.
    pub compression: Option<Compression>,
    /// Delimiter of CSV; `None`: a tab in `.tsv` files, else a comma.
    pub delimiter: Option<String>,
    /// Quote of CSV; `None`: quotes are text.
    pub quote: Option<u8>,
    /// Whether blanks around a field of CSV are removed, except inside quotes.
    pub trim: bool,
    /// Whether CSV has a header. Without one, columns are numbers from 1.
    pub header: bool,
    /// Words that stand for no value.
    pub nulls: Vec<String>,
    /// Columns of the fields of an event.
    pub columns: Columns,
    /// Columns of the fields of a catalogue record.
    pub item_columns: ItemColumns,
    /// Columns of the fields of a control.
    pub control_columns: ControlColumns,
    /// Names of the tag groups of the catalogue. Their places are those of [`schema::ItemField::Tags`].
    pub tag_groups: Vec<String>,
    /// Time of the catalogue records that have none and are not of a topic. `None`: they are rejected.
    pub default_ts: Option<u64>,
    /// Time of all catalogue records, whatever they say themselves.
    pub fixed_ts: Option<u64>,
    /// Action of all events, for records without one. A CSV file that also has an action column is a usage error; in JSON
    /// lines such a field is ignored.
    pub action: Option<String>,
    /// Conditions that every record must satisfy.
    pub filters: Vec<Filter>,
    /// Maximum length of a record, in bytes without its newline; at most [`InputOptions::MAX_RECORD_BYTES`].
    pub max_record_bytes: usize,
    /// Whether a batch keeps the original records of a topic, for the output of rejected records.
    pub originals: bool,
    /// Whether rooms are read.
    pub rooms: bool,
    /// Options of topics.
    pub kafka: KafkaOptions,
}

impl InputOptions {
    /// Upper bound of `max_record_bytes`; a larger value is replaced with it.
    pub const MAX_RECORD_BYTES: usize = 256 << 20;

    /// Words that stand for no value unless the user names others.
    pub const NULLS: [&str; 7] = ["NULL", "null", "\\N", "nan", "NaN", "None", "undefined"];

    /// Names of the options that [`InputOptions::set`] accepts.
    const NAMES: &str = "format, compression, delimiter, header, quote, trim, null, columns, user, item, ts, dwell_ms, \
                         room, action or where";

    /// Sets an option by its name. `columns` and `where` add to what is set; the others replace it. The error describes the
    /// mistake.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "columns" => self.columns.update(value).map_err(|error| error.to_string())?,
            "user" | "item" | "ts" | "dwell_ms" | "room" => {
                self.columns.update(&format!("{name}={value}")).map_err(|error| error.to_string())?;
            }
            "action" => self.action = Some(value.to_owned()),
            _ if self.set_common(name, value)? => {}
            other => {
                return Err(format!("`{}` is not an option of an input: use {}", schema::shown(other), Self::NAMES));
            }
        }
        Ok(())
    }

    /// The same for an input of catalogue records: `columns` and the names of their fields are those of
    /// [`ItemColumns`].
    pub fn set_of_catalogue(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "columns" => self.item_columns.update(value).map_err(|error| error.to_string())?,
            "user" | "dwell_ms" | "action" => {
                return Err(format!("{name}: is an option of events: a catalogue record has no {name}"));
            }
            target if ItemColumns::has_target(target) => {
                self.item_columns.update(&format!("{target}={value}")).map_err(|error| error.to_string())?;
            }
            _ if self.set_common(name, value)? => {}
            other => {
                let names = "format, compression, delimiter, header, quote, trim, null, columns, where or a field such \
                             as item, ts or title";
                return Err(format!("`{}` is not an option of a catalogue: use {names}", schema::shown(other)));
            }
        }
        Ok(())
    }

    /// The same for an input of controls: `columns` and the names of their fields are those of [`ControlColumns`].
    pub fn set_of_controls(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "columns" => self.control_columns.update(value).map_err(|error| error.to_string())?,
            "item" | "dwell_ms" | "action" | "room" => {
                return Err(format!("{name}: is an option of events: a control has no {name}"));
            }
            target if ControlColumns::has_target(target) => {
                self.control_columns.update(&format!("{target}={value}")).map_err(|error| error.to_string())?;
            }
            _ if self.set_common(name, value)? => {}
            other => {
                let names = "format, compression, delimiter, header, quote, trim, null, columns, where or a field such \
                             as user, target or ts";
                return Err(format!("`{}` is not an option of controls: use {names}", schema::shown(other)));
            }
        }
        Ok(())
    }

    /// Sets an option that all kinds of records have. Returns whether there is such an option.
    fn set_common(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let one_of = |choices: &str| Err(format!("{name}={}: use {choices}", schema::shown(value)));
        let yes_or_no = || match value {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(format!("{name}={}: use yes or no", schema::shown(value))),
        };
        match name {
            "format" => match value {
                "csv" => self.format = Some(Format::Csv),
                "tsv" => {
                    self.format = Some(Format::Csv);
                    self.delimiter.get_or_insert_with(|| "\t".into());
                }
                "json" | "jsonl" | "ndjson" => self.format = Some(Format::JsonLines),
                "parquet" => self.format = Some(Format::Parquet),
                _ => return one_of("csv, tsv, json or parquet"),
            },
            "compression" => match value {
                "none" => self.compression = Some(Compression::Plain),
                "gzip" | "gz" => self.compression = Some(Compression::Gzip),
                "zstd" | "zst" => self.compression = Some(Compression::Zstd),
                _ => return one_of("none, gzip or zstd"),
            },
            "delimiter" => self.delimiter = Some(delimiter(value)?),
            "header" => self.header = yes_or_no()?,
            "trim" => self.trim = yes_or_no()?,
            "quote" => match value.as_bytes() {
                b"none" => self.quote = None,
                [quote] if quote.is_ascii_punctuation() => self.quote = Some(*quote),
                _ => return one_of("none or one character such as \" or '"),
            },
            "null" => self.nulls = value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            "where" => self.filters.push(value.parse::<Filter>().map_err(|error| error.to_string())?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The dialect of CSV. `fallback`: the delimiter if none is set.
    pub(crate) fn dialect(&self, fallback: &str) -> Result<Dialect, OpenError> {
        let delimiter = self.delimiter.as_deref().unwrap_or(fallback);
        if self.quote.is_some_and(|quote| delimiter.as_bytes().contains(&quote)) {
            return Err(OpenError::Option {
                input: format!("delimiter={}", schema::shown(delimiter)),
                what: "the delimiter contains the quote; use quote=none".into(),
            });
        }
        Ok(Dialect { delimiter: delimiter.into(), quote: self.quote, trim: self.trim })
    }
}

/// A delimiter: a name, or the text itself, with `\t` for a tab.
fn delimiter(value: &str) -> Result<String, String> {
    /// Longest delimiter in bytes.
    const MAX_BYTES: usize = 16;
    let text = match value {
        "comma" => ",".into(),
        "semicolon" => ";".into(),
        "tab" => "\t".into(),
        "pipe" => "|".into(),
        "space" => " ".into(),
        other => other.replace("\\t", "\t"),
    };
    let is_valid = (1..=MAX_BYTES).contains(&text.len()) && !text.contains(['\n', '\r']);
    is_valid.then_some(text).ok_or_else(|| {
        format!(
            "delimiter={}: use comma, semicolon, tab, pipe, space or 1 to {MAX_BYTES} bytes such as ::",
            schema::shown(value)
        )
    })
}

impl Default for InputOptions {
    fn default() -> Self {
        InputOptions {
            format: None,
            compression: None,
            delimiter: None,
            quote: Some(b'"'),
            trim: true,
            header: true,
            nulls: Self::NULLS.map(str::to_owned).into(),
            columns: Columns::default(),
            item_columns: ItemColumns::default(),
            control_columns: ControlColumns::default(),
            tag_groups: vec!["default".into()],
            default_ts: None,
            fixed_ts: None,
            action: None,
            filters: Vec::new(),
            max_record_bytes: 1 << 20,
            originals: false,
            rooms: false,
            kafka: KafkaOptions::default(),
        }
    }
}
