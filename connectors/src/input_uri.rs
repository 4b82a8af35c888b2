use std::fmt;
use std::str::FromStr;

use schema::shown;

use crate::{Format, FormatError, InputOptions, OpenError, Uri};

/// An input as the user gave it: a [`Uri`] and, after `?`, options of this input alone: `log.dat?delimiter=::&header=no`.
///
/// A `?` starts the options if a word and `=` follow; any other `?` is part of the path. `??` is a `?` of the path in any case,
/// and `&&` a `&` of a value.
///
/// ```
/// use connectors::{InputOptions, InputUri};
///
/// let input: InputUri = "ratings.dat?delimiter=::&header=no&user=1&item=2&ts=4:s&action=like".parse()?;
/// assert_eq!(input.uri.to_string(), "ratings.dat");
/// let options = input.options(&InputOptions::default())?;
/// assert_eq!(options.delimiter.as_deref(), Some("::"));
/// assert_eq!("what?.csv".parse::<InputUri>()?.uri.to_string(), "what?.csv");
/// assert_eq!("a??header=no.csv".parse::<InputUri>()?.uri.to_string(), "a?header=no.csv");
/// # Ok::<(), connectors::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputUri {
    /// The input.
    pub uri: Uri,
    /// Names and values of its options.
    pairs: Vec<(String, String)>,
    /// Whether the format is known if no option names it.
    knows_format: bool,
}

impl InputUri {
    /// The options of this input, on top of those of all inputs.
    pub fn options(&self, defaults: &InputOptions) -> Result<InputOptions, OpenError> {
        self.options_by(defaults, InputOptions::set)
    }

    /// The options of this input of catalogue records, on top of those of all such inputs.
    pub fn catalogue_options(&self, defaults: &InputOptions) -> Result<InputOptions, OpenError> {
        self.options_by(defaults, InputOptions::set_of_catalogue)
    }

    /// The options of this input of controls, on top of those of all such inputs.
    pub fn control_options(&self, defaults: &InputOptions) -> Result<InputOptions, OpenError> {
        self.options_by(defaults, InputOptions::set_of_controls)
    }

    fn options_by(
        &self,
        defaults: &InputOptions,
        set: fn(&mut InputOptions, &str, &str) -> Result<(), String>,
    ) -> Result<InputOptions, OpenError> {
        let mut options = defaults.clone();
        for (name, value) in &self.pairs {
            let mistake = match self.uri {
                Uri::Generate(_) => Some("generated events have no options after `?`"),
                Uri::Kafka(_) if is_of_files(name) => Some("is an option of files: the records of a topic are JSON"),
                _ => None,
            };
            match mistake {
                Some(mistake) => Err(format!("{name}: {mistake}")),
                None => set(&mut options, name, value),
            }
            .map_err(|what| OpenError::Option { input: self.uri.to_string(), what })?;
        }
        if !self.knows_format && options.format.is_none() {
            return Err(FormatError { path: self.uri.to_string() }.into());
        }
        Ok(options)
    }

    /// Whether both inputs, by their names and options on top of the options of all, read the same events from the same
    /// contents. Contents are those after decompression.
    pub fn reads_as(&self, other: &InputUri, defaults: &InputOptions) -> bool {
        let options = |input: &InputUri| {
            let mut options = input.options(defaults)?;
            let format = if let Uri::File { format, .. } = input.uri { format } else { Format::JsonLines };
            if *options.format.get_or_insert(format) == Format::Csv {
                options.delimiter.get_or_insert_with(|| input.uri.delimiter().into());
            }
            Ok::<_, OpenError>(InputOptions { compression: None, ..options })
        };
        matches!((options(self), options(other)), (Ok(own), Ok(others)) if own == others)
    }

    /// Whether there are options of this input alone.
    pub fn has_options(&self) -> bool {
        !self.pairs.is_empty()
    }
}

fn is_of_files(option: &str) -> bool {
    matches!(option, "format" | "compression" | "delimiter" | "header" | "quote" | "trim")
}

impl FromStr for InputUri {
    type Err = OpenError;

    fn from_str(text: &str) -> Result<Self, OpenError> {
        let (place, options) = split(text);
        let mut pairs: Vec<(String, String)> = Vec::new();
        for option in options.map(separate).unwrap_or_default() {
            let (name, value) = option.split_once('=').ok_or_else(|| OpenError::Option {
                input: shown(&place),
                what: format!("`{}` is not an option: write NAME=VALUE, and && for & in a value", shown(&option)),
            })?;
            if name != "where" && pairs.iter().any(|(known, _)| known == name) {
                return Err(OpenError::Option {
                    input: shown(&place),
                    what: format!("{} is given twice", shown(name)),
                });
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
        let (uri, knows_format) = Uri::of_input(&place)?;
        Ok(InputUri { uri, pairs, knows_format })
    }
}

/// The input with its options, as [`InputUri::from_str`] reads them.
impl fmt::Display for InputUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri.to_string().replace('?', "??"))?;
        for (at, (name, value)) in self.pairs.iter().enumerate() {
            write!(f, "{}{name}={}", if at == 0 { '?' } else { '&' }, value.replace('&', "&&"))?;
        }
        Ok(())
    }
}

/// The path with `??` replaced, and the text of the options.
fn split(text: &str) -> (String, Option<&str>) {
    let mut place = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('?') {
        place.push_str(before);
        if let Some(after) = after.strip_prefix('?') {
            place.push('?');
            rest = after;
            continue;
        }
        let word = after.bytes().take_while(|byte| byte.is_ascii_lowercase() || *byte == b'_').count();
        if word > 0 && after[word..].starts_with('=') {
            return (place, Some(after));
        }
        place.push('?');
        rest = after;
    }
    place.push_str(rest);
    (place, None)
}

/// Splits options at `&`. `&&` is a `&` of a value.
fn separate(options: &str) -> Vec<String> {
    let mut separated = vec![String::new()];
    let mut characters = options.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '&' && characters.next_if_eq(&'&').is_none() {
            separated.push(String::new());
        } else if let Some(option) = separated.last_mut() {
            option.push(character);
        }
    }
    separated
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Compression, Format, ItemColumns};

    fn options(text: &str) -> Result<InputOptions, OpenError> {
        text.parse::<InputUri>()?.options(&InputOptions::default())
    }

    #[test]
    fn options_follow_a_question_mark() {
        let read = options("log.dat?format=csv&delimiter=::&header=no&user=1&item=2&action=like&ts=4:s").unwrap();
        assert_eq!((read.format, read.delimiter.as_deref(), read.header), (Some(Format::Csv), Some("::"), false));
        assert_eq!((read.columns.user.as_str(), read.columns.ts.source.as_str()), ("1", "4"));
        assert_eq!(read.action.as_deref(), Some("like"));
        let read = options("a.csv?delimiter=&&&quote=none&null=-,n/a&trim=no&compression=gzip").unwrap();
        assert_eq!((read.delimiter.as_deref(), read.quote, read.trim), (Some("&"), None, false));
        assert_eq!((read.nulls, read.compression), (vec!["-".to_owned(), "n/a".into()], Some(Compression::Gzip)));
        let read = options("a.jsonl?where=quantity>0&where=a=b&columns=user=u,ts=at:%d/%m/%Y, %H:%M").unwrap();
        assert_eq!((read.filters.len(), read.columns.user.as_str()), (2, "u"));
        let topic: InputUri = "kafka://b:9092/events?user=payload.user&action=view".parse().unwrap();
        assert_eq!(topic.uri, Uri::Kafka("b:9092/events".into()));
        assert_eq!(topic.options(&InputOptions::default()).unwrap().columns.user, "payload.user");
    }

    #[test]
    fn options_of_one_input_go_before_those_of_all() {
        let all = InputOptions { columns: "user=u,item=i".parse().unwrap(), ..InputOptions::default() };
        let one: InputUri = "a.csv?item=sku".parse().unwrap();
        let read = one.options(&all).unwrap();
        assert_eq!((read.columns.user.as_str(), read.columns.item.as_str()), ("u", "sku"));
    }

    #[test]
    fn inputs_that_are_read_alike_may_be_written_differently() {
        let all = InputOptions { action: Some("view".into()), ..InputOptions::default() };
        let alike = |a: &str, b: &str| a.parse::<InputUri>().unwrap().reads_as(&b.parse().unwrap(), &all);
        for (a, b) in [
            ("a.jsonl", "a.jsonl.1?format=json"),
            ("a.csv", "b.1.gz?format=csv&delimiter=comma&header=yes&compression=gzip"),
            ("a.tsv", "a.1?format=tsv"),
            ("a.csv?user=u&item=i", "a.csv?columns=item=i,user=u"),
            ("a.csv", "a.csv?action=view"),
            ("-", "-?format=json&null=NULL,null,\\N,nan,NaN,None,undefined"),
        ] {
            assert!(alike(a, b) && alike(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("a.jsonl", "a.csv"),
            ("a.csv", "a.tsv"),
            ("a.csv", "a.csv?header=no"),
            ("a.csv", "a.csv?quote=none"),
            ("a.csv?action=cart", "a.csv"),
            ("a.csv?where=a>1", "a.csv?where=a>2"),
            ("kafka://b/t", "kafka://b/t?user=u"),
            ("a", "a?format=json"),
        ] {
            assert!(!alike(a, b) && !alike(b, a), "{a} {b}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors_with_the_choices() {
        for (text, part) in [
            ("a.csv?delimeter=;", "delimiter"),
            ("a.csv?delimiter=", "semicolon"),
            ("a.csv?header=maybe", "yes or no"),
            ("a.csv?header=no&header=no", "twice"),
            ("a.csv?header=no&x", "NAME=VALUE"),
            ("a.csv?format=xml", "csv, tsv, json or parquet"),
            ("a.csv?quote=ab", "none or one character"),
            ("a.csv?ts=4:parsec", "parsec"),
            ("a.csv?where=x", "no comparison"),
            ("generate:events=5?header=no", "no options"),
            ("kafka://b/t?delimiter=;", "JSON"),
            ("a.dat2?header=no", "format="),
        ] {
            let error = options(text).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_catalogue_has_columns_of_its_own_and_no_options_of_events() {
        let options = |text: &str| text.parse::<InputUri>()?.catalogue_options(&InputOptions::default());
        let columns = |text: &str| text.parse::<ItemColumns>().unwrap();
        let read = options("a.dat?format=csv&delimiter=;&header=no&null=-&where=4>0&columns=title=2,ts=3:s").unwrap();
        assert_eq!((read.format, read.delimiter.as_deref(), read.header), (Some(Format::Csv), Some(";"), false));
        assert_eq!((read.item_columns, read.filters.len()), (columns("title=2,ts=3:s"), 1));
        assert_eq!(read.columns, crate::Columns::default());
        let read = options("a.csv?item=sku&from=start:iso&room=live&tags:size=sizes").unwrap();
        assert_eq!(read.item_columns, columns("item=sku,from=start:iso,room=live,tags:size=sizes"));
        for (text, part) in [
            ("a.csv?user=x", "user: is an option of events"),
            ("a.csv?action=view", "action: is an option of events"),
            ("a.csv?dwell_ms=x:s", "dwell_ms: is an option of events"),
            ("a.csv?titel=name", "`titel` is not an option of a catalogue"),
            ("a.csv?columns=user=x", "`user` is not a target"),
            ("a.csv?ts=x:parsec", "parsec"),
            ("kafka://b/t?format=csv", "JSON"),
            ("generate:events=5?item=sku", "no options"),
            ("a.dat2?header=no", "format="),
        ] {
            let error = options(text).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn controls_have_columns_of_their_own() {
        let options = |text: &str| text.parse::<InputUri>()?.control_options(&InputOptions::default());
        let read = options("a.dat?format=csv&header=no&user=1&columns=control=2,target=3&ts=4:s&where=5=x").unwrap();
        assert_eq!(read.control_columns, "user=1,control=2,target=3,ts=4:s".parse().unwrap());
        assert_eq!((read.format, read.header, read.filters.len()), (Some(Format::Csv), false, 1));
        assert_eq!((read.columns, read.item_columns), (crate::Columns::default(), ItemColumns::default()));
        for (text, part) in [
            ("a.csv?item=x", "item: is an option of events"),
            ("a.csv?traget=x", "`traget` is not an option of controls"),
            ("a.csv?columns=item=x", "`item` is not a target"),
            ("a.csv?ts=x:parsec", "parsec"),
            ("kafka://b/t?format=csv", "JSON"),
            ("a.dat2?header=no", "format="),
        ] {
            let error = options(text).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn fuzz_input_options(text in prop_oneof![
            "\\PC{0,60}",
            "[a-z.?&=:,]{0,60}",
            "(log\\.csv|-|kafka://b/t|generate:|\\?)(\\?\\??[a-z_]{1,10}=[a-z:;|&,%>?=]{0,9}){0,3}",
        ]) {
            if let Ok(input) = text.parse::<InputUri>() {
                if input.options(&InputOptions::default()).is_err() {
                    return Ok(());
                }
                prop_assert_eq!(input.to_string().parse::<InputUri>().unwrap(), input);
            }
        }
    }
}
