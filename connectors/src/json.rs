use std::borrow::Cow;
use std::fmt;

use schema::{Position, Reason};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::RawEvent;
use crate::mapping::{RecordMapping, Scratch, Values};
use crate::records::{End, Format};
use crate::value::Value;

/// JSON lines: one object a line. Of a key that is given twice the last value counts, as in most readers.
pub(crate) struct Json {
    plan: RecordMapping,
    roots: Vec<Node>,
    scratch: Scratch,
    /// Bytes of the current record that hold no newline.
    seen: usize,
}

impl Json {
    pub(crate) fn new(plan: RecordMapping) -> Self {
        let mut roots = Vec::new();
        for (column, source) in plan.sources.iter().enumerate() {
            insert(&mut roots, source, column);
        }
        Json { plan, roots, scratch: Scratch::default(), seen: 0 }
    }
}

impl Format for Json {
    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End {
        match memchr::memchr(b'\n', &bytes[self.seen..]) {
            Some(at) => End::At(self.seen + at + 1),
            None if ended => End::At(bytes.len()),
            None => {
                self.seen = bytes.len();
                End::Beyond
            }
        }
    }

    fn restart(&mut self) {
        self.seen = 0;
    }

    fn read<'r>(
        &'r mut self,
        record: &'r [u8],
        position: Position,
        out: &mut dyn FnMut(RawEvent<'_>),
    ) -> Result<(), Reason> {
        self.seen = 0;
        if record.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let text = std::str::from_utf8(record).map_err(|_| Reason::NotUtf8)?;
        let mut values = Values::default();
        parse(text, &self.roots, &mut values).map_err(|error| Reason::Malformed { detail: detail(&error) })?;
        out(self.plan.event(&values, &mut self.scratch, position)?);
        Ok(())
    }
}

fn parse<'a>(text: &'a str, roots: &[Node], values: &mut Values<'a>) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Object { nodes: roots, values })?;
    json.end()
}

/// The parser's words, without the line, which is always 1 here.
fn detail(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line 1 column ").next().unwrap_or(&text);
    if error.column() == 0 { what.to_owned() } else { format!("{what} at column {}", error.column()) }
}

/// A key on the way to a column that is read.
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

/// Reads the members of an object that are wanted and steps over the others.
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

/// Keeps the value of one node. No type is an error here: the plan says what is wrong with it.
struct Member<'p, 'v, 'a> {
    node: &'p Node,
    values: &'v mut Values<'a>,
}

impl<'a> Member<'_, '_, 'a> {
    fn keep(self, value: Value<'a>) {
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
        self.keep(Value::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.keep(Value::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.keep(Value::Unsigned(number));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.keep(Value::Negative(number));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.keep(Value::Float(number));
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.keep(Value::Bool(truth));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.keep(Value::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        self.keep(Value::Array);
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        Object { nodes: &self.node.children, values: &mut *self.values }.visit_map(map)?;
        self.keep(Value::Object);
        Ok(())
    }
}
