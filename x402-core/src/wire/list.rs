use core::fmt;

use super::Message;
use crate::error::ParseError;
use crate::json::{Cursor, RawJson, Writer};

/// The entries of an array: read from JSON, each checked and read again when it is asked for, or
/// given by the caller as a slice.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Read { span: RawJson<'a>, len: usize },
    Given(&'a [T]),
}

impl<'a, T: Message<'a> + Copy> List<'a, T> {
    /// Reads an array of at most `most` entries, or [`ParseError::TooManyOffers`].
    pub(crate) fn read(cursor: &mut Cursor<'a>, most: usize) -> Result<Self, ParseError> {
        cursor.peek();
        let start = cursor.position();
        let (mut first, mut len) = (true, 0usize);
        cursor.array()?;
        while cursor.element(&mut first)? {
            if len >= most {
                return Err(ParseError::TooManyOffers);
            }
            T::read(cursor)?;
            len = len.saturating_add(1);
        }
        Ok(Self(Source::Read { span: cursor.since(start)?, len }))
    }

    /// The entries.
    pub fn iter(&self) -> Iter<'a, T> {
        Iter(match self.0 {
            Source::Read { span, .. } => IterSource::read(span),
            Source::Given(entries) => IterSource::Given(entries.iter()),
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Read { len, .. } => len,
            Source::Given(entries) => entries.len(),
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>, each: impl Fn(&T, &mut Writer<'_>)) {
        writer.open('[');
        for entry in self.iter() {
            each(&entry, writer);
        }
        writer.close(']');
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(entries: &'a [T]) -> Self {
        Self(Source::Given(entries))
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self(Source::Given(&[]))
    }
}

impl<'a, T: Message<'a> + Copy + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The entries of a [`List`].
#[derive(Debug)]
pub struct Iter<'a, T>(IterSource<'a, T>);

#[derive(Debug)]
enum IterSource<'a, T> {
    Read { rest: Cursor<'a>, first: bool },
    Given(core::slice::Iter<'a, T>),
}

impl<'a, T> IterSource<'a, T> {
    fn read(span: RawJson<'a>) -> Self {
        let mut rest = span.cursor();
        rest.array().ok();
        Self::Read { rest, first: true }
    }
}

impl<'a, T: Message<'a> + Copy> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            IterSource::Read { rest, first } => {
                let more = rest.element(first).unwrap_or(false);
                if more { T::read(rest).ok() } else { None }
            }
            IterSource::Given(entries) => entries.next().copied(),
        }
    }
}
