/// Text of the records of a batch, in one buffer, so that storing a record allocates nothing.
#[derive(Debug, Default)]
pub struct Text(String);

/// A piece of a [`Text`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Text {
    pub(crate) fn push(&mut self, text: &str) -> Span {
        let start = self.end();
        self.0.push_str(text);
        Span { start, end: self.end() }
    }

    pub(crate) fn get(&self, span: Span) -> &str {
        &self.0[span.start as usize..span.end as usize]
    }

    /// Removes everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn end(&self) -> u32 {
        u32::try_from(self.0.len()).expect("a poll ends long before a batch holds 4 GiB of text")
    }
}
