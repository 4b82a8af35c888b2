//! Tables of names.

use schema::{IdMap, check_name};

use crate::CodecError;

/// Names, each stored once and numbered in the order of insertion. A table holds up to 4 GiB of text.
#[derive(Clone, Default)]
pub(crate) struct NameTable {
    text: String,
    /// End of each name in the text. It starts where the name before ends.
    ends: Vec<u32>,
    /// Numbers by id64. A table that was read has none, and no names are added to it.
    index: Option<IdMap<u32>>,
}

impl NameTable {
    /// The number of a name, which is added if it is new.
    pub(crate) fn number(&mut self, id: u64, name: &str) -> u32 {
        let number = self.ends.len() as u32;
        assert!(self.index.is_some() || number == 0, "rows that were read are not added to");
        *self.index.get_or_insert_default().entry(id).or_insert_with(|| {
            self.text.push_str(name);
            let end = u32::try_from(self.text.len());
            // A group has a 256th of all users: memory runs out long before.
            self.ends.push(end.expect("the names of one group take less than 4 GiB"));
            number
        })
    }

    pub(crate) fn without_ids(self) -> Self {
        NameTable { index: None, ..self }
    }

    /// The number of a name that [`number`](Self::number) added.
    pub(crate) fn known(&self, id: u64) -> Option<u32> {
        self.index.as_ref()?.get(&id).copied()
    }

    /// Builds a table from decoded parts. Checks every name.
    pub(crate) fn checked(text: &[u8], ends: Vec<u32>) -> Result<Self, CodecError> {
        let text = str::from_utf8(text).map_err(|error| CodecError::damaged(format!("names: {error}")))?;
        let mut start = 0;
        for end in &ends {
            let end = *end as usize;
            let name = text.get(start..end).ok_or_else(|| CodecError::damaged("names that overlap"))?;
            check_name("name", name).map_err(|reason| CodecError::damaged(format!("an invalid name: {reason}")))?;
            start = end;
        }
        if start != text.len() {
            return Err(CodecError::damaged("more text than names"));
        }
        Ok(NameTable { text: text.to_owned(), ends, index: None })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The name with this number.
    pub(crate) fn name(&self, number: u32) -> &str {
        &self.text[self.start(number)..self.ends[number as usize] as usize]
    }

    /// Start of a name in [`Self::text`].
    pub(crate) fn start(&self, number: u32) -> usize {
        if number == 0 { 0 } else { self.ends[number as usize - 1] as usize }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|number| self.name(number as u32))
    }

    /// All names, concatenated.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// End of each name in [`Self::text`].
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }
}
