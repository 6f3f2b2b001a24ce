use core::fmt;

use super::Message;
use crate::error::ParseError;
use crate::json::{Cursor, Located, RawJson, Writer};
use crate::limits;
use crate::network::Version;

/// An entry of a message's list.
pub trait Listed<'a>: Message<'a> + Copy {
    /// Reads an entry of a message of this version.
    fn read_in(cursor: &mut Cursor<'a>, version: Version) -> Result<Self, ParseError>;
}

/// An entry of a [`List`]: its text, and the result of reading it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a, T> {
    /// The text of the entry; `None` for one that the caller gave as a message.
    pub raw: Option<RawJson<'a>>,
    /// The entry, or why it cannot be read, and where in its text.
    pub read: Result<T, Located>,
}

/// The entries of an array: read from JSON, each when it is asked for, or given by the caller.
///
/// A list is as readable as its best entry: an unreadable one is stepped over, and written again byte
/// for byte.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Read { span: RawJson<'a>, len: usize, most: usize, version: Version },
    Given(&'a [T]),
    Mixed(&'a [Entry<'a, T>]),
}

impl<'a, T: Listed<'a>> List<'a, T> {
    /// Reads an array. At most `most` of its entries are looked at later.
    pub(crate) fn read(cursor: &mut Cursor<'a>, most: usize) -> Result<Self, ParseError> {
        cursor.peek();
        let start = cursor.position();
        let (mut first, mut len) = (true, 0usize);
        cursor.array()?;
        while cursor.element(&mut first)? {
            cursor.kept()?;
            len = len.saturating_add(1);
        }
        let span = cursor.since(start)?;
        Ok(Self(Source::Read { span, len, most, version: Version::V2 }))
    }

    /// Returns the same list in a message of this version.
    pub(crate) fn of_version(self, version: Version) -> Self {
        match self.0 {
            Source::Read { span, len, most, .. } => Self(Source::Read { span, len, most, version }),
            _ => self,
        }
    }

    /// Returns the entries that can be read.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        self.entries().filter_map(|entry| entry.read.ok())
    }

    /// Returns all entries. Those beyond the [`limits`] are [`ParseError::TooManyOffers`].
    pub fn entries(&self) -> Entries<'a, T> {
        match self.0 {
            Source::Read { span, most, version, .. } => {
                let mut rest = span.cursor();
                rest.array().ok();
                let rescan = limits::RESCAN_BYTES;
                Entries(Walk::Read { rest, first: true, left: most, version, rescan })
            }
            Source::Given(entries) => Entries(Walk::Given(entries.iter())),
            Source::Mixed(entries) => Entries(Walk::Mixed(entries.iter())),
        }
    }

    /// Returns the number of entries, unreadable ones included.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Read { len, .. } => len,
            Source::Given(entries) => entries.len(),
            Source::Mixed(entries) => entries.len(),
        }
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>, each: impl Fn(&T, &mut Writer<'_>)) {
        writer.open('[');
        for entry in self.entries() {
            match (&entry.read, entry.raw) {
                (Ok(entry), _) => each(entry, writer),
                (Err(_), Some(raw)) => drop(writer.raw(raw)),
                (Err(_), None) => {}
            }
        }
        writer.close(']');
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(entries: &'a [T]) -> Self {
        Self(Source::Given(entries))
    }
}

impl<'a, T> From<&'a [Entry<'a, T>]> for List<'a, T> {
    fn from(entries: &'a [Entry<'a, T>]) -> Self {
        Self(Source::Mixed(entries))
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self(Source::Given(&[]))
    }
}

impl<'a, T: Listed<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries().map(|entry| entry.read)).finish()
    }
}

/// The depth of the entries: in the list, in the message.
const DEPTH: usize = 2;

/// The entries of a [`List`].
#[derive(Debug)]
pub struct Entries<'a, T>(Walk<'a, T>);

#[derive(Debug)]
enum Walk<'a, T> {
    Read {
        rest: Cursor<'a>,
        first: bool,
        /// The number of entries still to look at.
        left: usize,
        version: Version,
        /// Bytes that may still be read again while looking for repeated keys.
        rescan: usize,
    },
    Given(core::slice::Iter<'a, T>),
    Mixed(core::slice::Iter<'a, Entry<'a, T>>),
}

impl<'a, T: Listed<'a>> Iterator for Entries<'a, T> {
    type Item = Entry<'a, T>;

    #[inline(never)]
    fn next(&mut self) -> Option<Entry<'a, T>> {
        match &mut self.0 {
            Walk::Read { rest, first, left, version, rescan } => {
                if !rest.element(first).unwrap_or(false) {
                    return None;
                }
                rest.peek();
                let mut entry = Cursor::inside(rest.rest(), DEPTH, *rescan);
                let read = if *left == 0 {
                    Err(ParseError::TooManyOffers)
                } else {
                    T::read_in(&mut entry, *version)
                };
                *left = left.saturating_sub(1);
                *rescan = entry.rescan();
                let raw = match read {
                    Ok(_) => rest.pass(&entry),
                    Err(_) => rest.value().ok()?,
                };
                Some(Entry { raw: Some(raw), read: read.map_err(|error| entry.locate(error)) })
            }
            Walk::Given(entries) => {
                entries.next().map(|entry| Entry { raw: None, read: Ok(*entry) })
            }
            Walk::Mixed(entries) => entries.next().copied(),
        }
    }
}
