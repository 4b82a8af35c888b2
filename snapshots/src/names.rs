use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use schema::{check_name, id64};

use crate::CodecError;

/// Numbers of names by their id64.
type Index = HashMap<u64, u32, BuildHasherDefault<IdHasher>>;

/// Names, each stored once, by number in the order of their coming. A table holds up to 4 GiB of text.
#[derive(Clone, Default)]
pub(crate) struct Names {
    text: String,
    /// Where each name ends; it begins where the one before ends.
    ends: Vec<u32>,
    /// Built when the first name is added: whoever only reads needs none.
    index: Option<Index>,
}

impl Names {
    /// The number of a name. Two names with one id64 are one name.
    pub(crate) fn number(&mut self, id: u64, name: &str) -> u32 {
        if self.index.is_none() {
            self.index = Some((0..).zip(self.iter()).map(|(number, name)| (id64(name), number)).collect());
        }
        let number = self.ends.len() as u32;
        let index = self.index.as_mut().expect("just built");
        *index.entry(id).or_insert_with(|| {
            self.text.push_str(name);
            let end = u32::try_from(self.text.len());
            // A group is a 256th of all users: memory is gone long before.
            self.ends.push(end.expect("the names of one group take less than 4 GiB"));
            number
        })
    }

    /// The number of a name that was given one by [`number`](Self::number).
    pub(crate) fn known(&self, id: u64) -> Option<u32> {
        self.index.as_ref()?.get(&id).copied()
    }

    /// A table read back, after a look at every name.
    pub(crate) fn checked(text: &[u8], ends: Vec<u32>) -> Result<Self, CodecError> {
        let text = str::from_utf8(text).map_err(|error| CodecError::damaged(format!("names: {error}")))?;
        let mut start = 0;
        for end in &ends {
            let end = *end as usize;
            let name = text.get(start..end).ok_or_else(|| CodecError::damaged("names that overlap"))?;
            check_name("name", name)
                .map_err(|reason| CodecError::damaged(format!("a name that cannot be: {reason}")))?;
            start = end;
        }
        if start != text.len() {
            return Err(CodecError::damaged("more text than names"));
        }
        Ok(Names { text: text.to_owned(), ends, index: None })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The name of a number that was given out.
    pub(crate) fn name(&self, number: u32) -> &str {
        &self.text[self.start(number)..self.ends[number as usize] as usize]
    }

    /// Where a name begins in [`Self::text`].
    pub(crate) fn start(&self, number: u32) -> usize {
        if number == 0 { 0 } else { self.ends[number as usize - 1] as usize }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|number| self.name(number as u32))
    }

    /// All names, one after the other.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where each name ends in [`Self::text`].
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }
}

/// An id64 is a hash already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only id64s are hashed");
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
