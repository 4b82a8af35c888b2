use std::borrow::Cow;
use std::fmt;

use schema::{Reason, shortened};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{End, Format, Framing};
use crate::OpenError;
use crate::values::{Value, with_values};

/// JSON lines: one object a line. If a key occurs twice, the last value is used, as in most parsers.
pub(crate) struct Json {
    roots: Vec<Node>,
    /// Number of columns.
    columns: usize,
    /// Whether arrays and objects keep their text.
    whole_values: bool,
    /// Bytes of the current record known to contain no newline.
    scanned: usize,
    /// Number of the next records that are parsed with the text of each value at once.
    as_text: u32,
}

/// Records after one with a number of another kind than [`Value::Integer`] that are expected to have one too.
const MORE_AS_TEXT: u32 = 1_000;

impl Json {
    /// Decodes columns: keys, keys of nested objects (`payload.user.id`), and keys in each element of one array
    /// (`products[].id`). A key may itself contain dots. `whole_values`: arrays and objects keep their text.
    pub(crate) fn new(columns: &[String], whole_values: bool) -> Result<Self, OpenError> {
        let mut roots = Vec::new();
        let mut array = None;
        for (column, path) in columns.iter().enumerate() {
            node_at(&mut roots, &[path]).column = Some(column);
            let Some((prefix, rest)) = path.split_once("[]") else {
                for keys in spellings(path) {
                    node_at(&mut roots, &keys).column = Some(column);
                }
                continue;
            };
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            if prefix.is_empty() || rest.contains("[]") || array.is_some_and(|array| array != prefix) {
                return Err(OpenError::Arrays { column: path.clone() });
            }
            array = Some(prefix);
            for keys in spellings(prefix) {
                let elements = node_at(&mut roots, &keys).elements.get_or_insert_default();
                if rest.is_empty() {
                    elements.column = Some(column);
                }
                for keys in spellings(rest).into_iter().filter(|_| !rest.is_empty()) {
                    node_at(&mut elements.children, &keys).column = Some(column);
                }
            }
        }
        Ok(Json { roots, columns: columns.len(), whole_values, scanned: 0, as_text: 0 })
    }
}

impl Framing for Json {
    fn find_end(&mut self, bytes: &[u8], _start: u64, ended: bool) -> End {
        match memchr::memchr(b'\n', &bytes[self.scanned..]) {
            Some(at) => End::At(self.scanned + at + 1),
            None if ended => End::At(bytes.len()),
            None => {
                self.scanned = bytes.len();
                End::Beyond
            }
        }
    }

    fn length(&self, bytes: &[u8], _start: u64) -> Option<usize> {
        Some(memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1))
    }

    fn restart(&mut self) {
        self.scanned = 0;
    }
}

impl Format for Json {
    fn decode(&mut self, record: &[u8], emit: &mut dyn FnMut(&[Value<'_>])) -> Result<(), Reason> {
        self.scanned = 0;
        if record.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let text = std::str::from_utf8(record).map_err(|_| Reason::NotUtf8)?;
        // Nearly every record has short integers only. They are parsed once, without their text.
        if self.as_text == 0 && !self.whole_values && self.parse(text, false, emit).is_ok() {
            return Ok(());
        }
        match self.parse(text, true, emit) {
            Ok(()) => self.as_text = self.as_text.checked_sub(1).unwrap_or(MORE_AS_TEXT),
            // Python writes NaN and Infinity, which are not JSON.
            Err(error) => {
                let quoted = quote_not_finite(text).ok_or_else(|| malformed(text, &error))?;
                self.parse(&quoted, true, emit).map_err(|_| malformed(text, &error))?;
            }
        }
        Ok(())
    }
}

impl Json {
    /// Parses a record and emits its values.
    fn parse(&self, text: &str, keeps_text: bool, emit: &mut dyn FnMut(&[Value<'_>])) -> serde_json::Result<()> {
        with_values(self.columns, |values| {
            let mut found = Found { values, elements: Vec::new(), is_in_element: false, keeps_text };
            let mut json = serde_json::Deserializer::from_str(text);
            json.deserialize_map(Object { nodes: &self.roots, found: &mut found })?;
            json.end()?;
            found.emit(emit);
            Ok(())
        })
    }
}

/// Keys that a path can mean: dots separate nested keys, or are part of a key.
fn spellings(path: &str) -> Vec<Vec<&str>> {
    /// Most dots of which each combination is tried; of a longer path, only none and all.
    const MAX_DOTS: usize = 4;
    let dots: Vec<usize> = path.match_indices('.').map(|(at, _)| at).collect();
    if dots.len() > MAX_DOTS {
        return vec![vec![path], path.split('.').collect()];
    }
    let spelling = |chosen: usize| {
        let mut keys = Vec::new();
        let mut start = 0;
        for (bit, dot) in dots.iter().enumerate() {
            if chosen >> bit & 1 == 1 {
                keys.push(&path[start..*dot]);
                start = dot + 1;
            }
        }
        keys.push(&path[start..]);
        keys
    };
    (0..1 << dots.len()).map(spelling).collect()
}

/// Values found in a record.
struct Found<'a, 'w> {
    values: &'w mut [Value<'a>],
    /// Values of each element of the array, by column.
    elements: Vec<Vec<(usize, Value<'a>)>>,
    is_in_element: bool,
    /// Whether numbers have their text, for exact decimals and for messages. Without it a number that is no
    /// [`Value::Integer`] is an error.
    keeps_text: bool,
}

impl<'a> Found<'a, '_> {
    fn store(&mut self, column: Option<usize>, value: Value<'a>) {
        let Some(column) = column else { return };
        match self.elements.last_mut() {
            Some(element) if self.is_in_element => element.push((column, value)),
            _ => self.values[column] = value,
        }
    }

    fn emit(&mut self, emit: &mut dyn FnMut(&[Value<'_>])) {
        let Found { values, elements, .. } = self;
        if elements.is_empty() {
            emit(values);
        }
        for element in elements {
            let columns: Vec<usize> = element.iter().map(|(column, _)| *column).collect();
            for (column, value) in element.drain(..) {
                values[column] = value;
            }
            emit(values);
            for column in columns {
                values[column] = Value::Absent;
            }
        }
    }
}

/// Puts `NaN`, `Infinity` and `-Infinity` in quotes; `None` if there are none.
fn quote_not_finite(text: &str) -> Option<String> {
    let mut quoted = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        if bytes[at] == b'"' {
            at += 1;
            while let Some(step) =
                bytes.get(at).filter(|byte| **byte != b'"').map(|byte| 1 + usize::from(*byte == b'\\'))
            {
                at += step;
            }
            at += 1;
            continue;
        }
        let words = ["NaN", "Infinity", "-Infinity"];
        match words.into_iter().find(|word| bytes[at..].starts_with(word.as_bytes())) {
            Some(word) => {
                quoted.extend([&text[copied..at], "\"", word, "\""]);
                at += word.len();
                copied = at;
            }
            None => at += 1,
        }
    }
    quoted.push_str(&text[copied..]);
    (copied > 0).then_some(quoted)
}

/// Message of the parser without the line, which is always 1.
fn malformed(text: &str, error: &serde_json::Error) -> Reason {
    /// Maximum number of characters of the message, which may contain a whole string of the record.
    const MAX_DETAIL: usize = 200;
    if text.trim_end().contains("}\r{") {
        return Reason::Malformed { detail: "lines end in CR alone: convert the file with tr '\\r' '\\n'".into() };
    }
    let message = error.to_string();
    let what = shortened(message.split(" at line 1 column ").next().unwrap_or(&message), MAX_DETAIL);
    Reason::Malformed {
        detail: if error.column() == 0 { what } else { format!("{what} at column {}", error.column()) },
    }
}

/// A key on the path to a column.
#[derive(Default)]
struct Node {
    key: String,
    column: Option<usize>,
    children: Vec<Node>,
    /// An element of the array that is the value of the key. It has no key.
    elements: Option<Box<Node>>,
}

/// Finds or inserts the node of a path.
fn node_at<'n>(nodes: &'n mut Vec<Node>, keys: &[&str]) -> &'n mut Node {
    let [key, rest @ ..] = keys else { unreachable!("a path has a key") };
    let index = nodes.iter().position(|node| node.key == *key).unwrap_or_else(|| {
        nodes.push(Node { key: (*key).to_owned(), ..Node::default() });
        nodes.len() - 1
    });
    let node = &mut nodes[index];
    if rest.is_empty() { node } else { node_at(&mut node.children, rest) }
}

/// Reads the members of an object that have a node and skips the others.
struct Object<'p, 'v, 'w, 'a> {
    nodes: &'p [Node],
    found: &'v mut Found<'a, 'w>,
}

impl<'a> Visitor<'a> for Object<'_, '_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(node) = map.next_key_seed(Key(self.nodes))? {
            match node {
                Some(node) => map.next_value_seed(Member::new(node, self.found))?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The value of a column, from its JSON text.
pub(crate) fn leaf(json: &str) -> serde_json::Result<Value<'_>> {
    Ok(match json.as_bytes().first() {
        Some(b'"') => match json.get(1..json.len() - 1) {
            Some(text) if !text.contains('\\') => Value::Text(Cow::Borrowed(text)),
            _ => Value::Text(Cow::Owned(serde_json::from_str(json)?)),
        },
        Some(b't' | b'f') => Value::Bool(json == "true"),
        Some(b'n') => Value::Null,
        Some(b'[') => Value::Array(Cow::Borrowed(json)),
        Some(b'{') => Value::Object(Cow::Borrowed(json)),
        _ => Value::Number(Cow::Borrowed(json)),
    })
}

/// Finds the node of a key.
struct Key<'p>(&'p [Node]);

impl<'a, 'p> DeserializeSeed<'a> for Key<'p> {
    type Value = Option<&'p Node>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p> {
    type Value = Option<&'p Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|node| node.key == key))
    }
}

/// Stores the value of one node. The mapping checks its type.
struct Member<'p, 'v, 'w, 'a> {
    node: &'p Node,
    found: &'v mut Found<'a, 'w>,
    /// Text of the value, if it is an array or an object and texts are kept.
    text: &'a str,
}

impl<'p, 'v, 'w, 'a> Member<'p, 'v, 'w, 'a> {
    fn new(node: &'p Node, found: &'v mut Found<'a, 'w>) -> Self {
        Member { node, found, text: "" }
    }

    fn store(self, value: Value<'a>) {
        self.found.store(self.node.column, value);
    }

    /// Refuses a number that is read without its text, unless it is where only an object is of interest.
    fn refuse_number<E: Error>(self) -> Result<(), E> {
        if self.node.column.is_some() { Err(E::custom("the text of the number is needed")) } else { Ok(()) }
    }
}

impl<'a> DeserializeSeed<'a> for Member<'_, '_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        if !self.found.keeps_text || self.node.column.is_none() {
            return json.deserialize_any(self);
        }
        let text = <&'a RawValue>::deserialize(json)?.get();
        let has_parts = !self.node.children.is_empty() || self.node.elements.is_some();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if has_parts => {
                serde_json::Deserializer::from_str(text).deserialize_any(Member { text, ..self })
            }
            _ => leaf(text).map(|value| self.store(value)),
        }
        .map_err(D::Error::custom)
    }
}

impl<'a> Visitor<'a> for Member<'_, '_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<(), E> {
        self.store(Value::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.store(Value::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => self.refuse_number(),
        }
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.store(Value::Integer(number));
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.refuse_number()
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.store(Value::Bool(truth));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.store(Value::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        match &self.node.elements {
            Some(node) if !self.found.is_in_element => {
                self.found.elements.clear();
                self.found.is_in_element = true;
                loop {
                    self.found.elements.push(Vec::new());
                    if array.next_element_seed(Member::new(node, self.found))?.is_none() {
                        break;
                    }
                }
                self.found.elements.pop();
                self.found.is_in_element = false;
            }
            _ => while array.next_element::<IgnoredAny>()?.is_some() {},
        }
        let text = Cow::Borrowed(self.text);
        self.store(Value::Array(text));
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        Object { nodes: &self.node.children, found: &mut *self.found }.visit_map(map)?;
        let text = Cow::Borrowed(self.text);
        self.store(Value::Object(text));
        Ok(())
    }
}
