use std::borrow::Cow;
use std::fmt;

use schema::Reason;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Decoder, End, Framing, Value, Values};
use crate::records::{Mapping, Received};
use crate::{Batch, Record};

/// JSON lines: one object a line. If a key occurs twice, the last value is used, as in most parsers.
pub(crate) struct Json<R: Record> {
    mapping: R::Mapping,
    roots: Vec<Node>,
    scratch: <R::Mapping as Mapping<R>>::Scratch,
    /// Bytes of the current record known to contain no newline.
    scanned: usize,
}

impl<R: Record> Json<R> {
    pub(crate) fn new(mapping: R::Mapping) -> Self {
        let mut roots = Vec::new();
        for (column, path) in mapping.columns().iter().enumerate() {
            insert(&mut roots, path, column);
        }
        Json { mapping, roots, scratch: Default::default(), scanned: 0 }
    }
}

impl<R: Record> Framing for Json<R> {
    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End {
        match memchr::memchr(b'\n', &bytes[self.scanned..]) {
            Some(at) => End::At(self.scanned + at + 1),
            None if ended => End::At(bytes.len()),
            None => {
                self.scanned = bytes.len();
                End::Beyond
            }
        }
    }

    fn restart(&mut self) {
        self.scanned = 0;
    }
}

impl<R: Record> Decoder<R> for Json<R> {
    fn decode(&mut self, record: &[u8], received: Received, into: &mut Batch<R>) -> Result<(), Reason> {
        self.scanned = 0;
        if record.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let text = std::str::from_utf8(record).map_err(|_| Reason::NotUtf8)?;
        let mut values = Values::default();
        parse(text, &self.roots, &mut values).map_err(|error| Reason::Malformed { detail: detail(&error) })?;
        into.push(self.mapping.map(&values, &mut self.scratch, received)?);
        Ok(())
    }
}

fn parse<'a>(text: &'a str, roots: &[Node], values: &mut Values<'a>) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Object { nodes: roots, values })?;
    json.end()
}

/// Message of the parser without the line, which is always 1.
fn detail(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line 1 column ").next().unwrap_or(&text);
    if error.column() == 0 { what.to_owned() } else { format!("{what} at column {}", error.column()) }
}

/// A key on the path to a column.
struct Node {
    key: String,
    column: Option<usize>,
    children: Vec<Node>,
}

fn insert(nodes: &mut Vec<Node>, path: &str, column: usize) {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let index = nodes.iter().position(|node| node.key == key).unwrap_or_else(|| {
        nodes.push(Node { key: key.to_owned(), column: None, children: Vec::new() });
        nodes.len() - 1
    });
    match rest {
        Some(rest) => insert(&mut nodes[index].children, rest, column),
        None => nodes[index].column = Some(column),
    }
}

/// Reads the members of an object that have a node and skips the others.
struct Object<'p, 'v, 'a> {
    nodes: &'p [Node],
    values: &'v mut Values<'a>,
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(node) = map.next_key_seed(Key(self.nodes))? {
            match node {
                Some(node) => map.next_value_seed(Member { node, values: self.values })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
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
struct Member<'p, 'v, 'a> {
    node: &'p Node,
    values: &'v mut Values<'a>,
}

impl<'a> Member<'_, '_, 'a> {
    fn store(self, value: Value<'a>) {
        if let Some(column) = self.node.column {
            self.values[column] = value;
        }
    }
}

impl<'a> DeserializeSeed<'a> for Member<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Member<'_, '_, 'a> {
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

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.store(Value::Unsigned(number));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.store(Value::Negative(number));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.store(Value::Float(number));
        Ok(())
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
        while array.next_element::<IgnoredAny>()?.is_some() {}
        self.store(Value::Array);
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        Object { nodes: &self.node.children, values: &mut *self.values }.visit_map(map)?;
        self.store(Value::Object);
        Ok(())
    }
}
