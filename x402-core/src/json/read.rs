use super::raw::{Members, RawJson};
use super::text::{JsonStr, plain};
use crate::amount::Amount;
use crate::error::ParseError;
use crate::limits;
use crate::network::{Network, Version};

/// A position in a JSON text, moving forward as values are read.
///
/// Messages and schemes read themselves through it. After an error the cursor stands at or
/// behind the byte that caused it ([`Cursor::position`]) and must not be read further.
///
/// ```
/// use x402_core::json::{Cursor, Field};
/// let mut c = Cursor::new(br#"{"colour":"red","n":3}"#)?;
/// let (mut colour, mut object) = (Field::default(), c.object()?);
/// while let Some(key) = c.key(&mut object)? {
///     match key {
///         "colour" => colour.set(c.string()?)?,
///         _ => c.unknown(&mut object)?,
///     }
/// }
/// c.end()?;
/// assert_eq!(colour.required()?, "red");
/// # Ok::<(), x402_core::ParseError>(())
/// ```
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    /// The part of it that has not been read.
    rest: &'a str,
    depth: usize,
    /// Bytes that may still be read again; `None` for text that has been checked before, where
    /// repeated keys are not looked for.
    rescan: Option<usize>,
    /// The field that an error is about, if the cursor stands elsewhere; else empty.
    field: &'static str,
}

/// A place at which a cursor stood, outside of containers or in the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark<'a>(&'a str);

/// Where in a text an error was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The error.
    pub error: ParseError,
    /// The byte at which it was noticed.
    pub at: usize,
    /// The field that is missing, or wrongly `null`, in the object that ends there; else empty.
    pub field: &'static str,
}

impl From<Located> for ParseError {
    fn from(located: Located) -> Self {
        located.error
    }
}

/// An object being read by a [`Cursor`].
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    start: usize,
    first: bool,
    key: &'a str,
    seen: u64,
    other: bool,
    /// Fingerprints of named keys whose values are kept with the unknown ones.
    kept: u64,
}

/// One field of an object being read: absent, `null`, or a value; never two.
#[derive(Debug)]
pub struct Field<T>(Option<Option<T>>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Field<T> {
    /// Takes the value; [`ParseError::DuplicateKey`] if there was one.
    pub fn set(&mut self, value: T) -> Result<(), ParseError> {
        self.set_nullable(Some(value))
    }

    /// Takes the value or `null`; [`ParseError::DuplicateKey`] if there was one.
    pub fn set_nullable(&mut self, value: Option<T>) -> Result<(), ParseError> {
        if self.0.is_some() {
            return Err(ParseError::DuplicateKey);
        }
        self.0 = Some(value);
        Ok(())
    }

    /// Returns the value; [`ParseError::MissingField`] if absent, [`ParseError::WrongType`] if
    /// `null`.
    pub fn required(self) -> Result<T, ParseError> {
        match self.0 {
            None => Err(ParseError::MissingField),
            Some(None) => Err(ParseError::WrongType),
            Some(Some(value)) => Ok(value),
        }
    }

    /// Returns the value, if it was there and not `null`.
    pub fn optional(self) -> Option<T> {
        self.0.flatten()
    }

    /// [`Field::required`], copied.
    pub(crate) fn copied(&self) -> Result<T, ParseError>
    where
        T: Copy,
    {
        Self(self.0).required()
    }

    /// [`Field::optional`], borrowed.
    pub(crate) const fn get(&self) -> Option<&T> {
        match &self.0 {
            Some(Some(value)) => Some(value),
            _ => None,
        }
    }
}

/// An open container inside a value that is being skipped.
#[derive(Clone, Copy)]
struct Level {
    /// Where the object starts, or `ARRAY`.
    start: u32,
    /// Fingerprints of the keys seen so far.
    seen: u64,
}

const ARRAY: u32 = u32::MAX;

impl Object<'_> {
    /// Counts a field among the unknown members, if it was there.
    pub(crate) fn keep<T>(&mut self, field: &Field<T>) {
        self.other |= field.0.is_some();
    }

    /// Returns the text in a field that decides nothing. A value that is no text is kept among the
    /// unknown members.
    pub(crate) fn text<'v>(
        &mut self,
        key: &str,
        field: &Field<RawJson<'v>>,
    ) -> Option<JsonStr<'v>> {
        let value = field.get().copied().filter(|value| value.as_str() != "null")?;
        let text = value.as_string();
        if text.is_none() {
            self.kept |= fingerprint(JsonStr::new(key));
            self.other = true;
        }
        text
    }
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `json`, which must be UTF-8 and within [`limits::MESSAGE_BYTES`].
    pub fn new(json: &'a [u8]) -> Result<Self, ParseError> {
        Self::within(limits::MESSAGE_BYTES, json)
    }

    /// Starts at the beginning of `json`, which must be UTF-8 and have at most `most` bytes.
    pub(crate) fn within(most: usize, json: &'a [u8]) -> Result<Self, ParseError> {
        if json.len() > most {
            return Err(ParseError::TooLong);
        }
        let text = core::str::from_utf8(json).map_err(|_| ParseError::NotUtf8)?;
        Ok(Self { text, rest: text, depth: 0, rescan: Some(limits::RESCAN_BYTES), field: "" })
    }

    /// Starts over a value that has been checked.
    pub(crate) const fn over(text: &'a str) -> Self {
        Self { text, rest: text, depth: 0, rescan: None, field: "" }
    }

    /// Starts over a part of a text that is read by itself, so many levels deep in it; `rescan` is the
    /// rest of [`limits::RESCAN_BYTES`].
    pub(crate) const fn inside(text: &'a str, depth: usize, rescan: usize) -> Self {
        Self { text, rest: text, depth, rescan: Some(rescan), field: "" }
    }

    /// Returns the rest of [`limits::RESCAN_BYTES`].
    pub(crate) fn rescan(&self) -> usize {
        self.rescan.unwrap_or_default()
    }

    /// Returns an error with the place where it was noticed.
    pub const fn locate(&self, error: ParseError) -> Located {
        Located { error, at: self.position(), field: self.field }
    }

    /// Returns the value of a field that the object just read must have; an error names the field.
    pub fn required<T>(&mut self, field: Field<T>, name: &'static str) -> Result<T, ParseError> {
        self.named(field.required(), name)
    }

    /// Notes the field an error is about.
    pub(crate) fn named<T>(
        &mut self,
        value: Result<T, ParseError>,
        name: &'static str,
    ) -> Result<T, ParseError> {
        if value.is_err() {
            self.field = name;
        }
        value
    }

    /// Steps over the text another cursor, which began here, has read, and returns it.
    pub(crate) fn pass(&mut self, inside: &Cursor<'a>) -> RawJson<'a> {
        let (text, rest) = self.rest.split_at_checked(inside.position()).unwrap_or((self.rest, ""));
        self.rest = rest;
        RawJson::of(text)
    }

    /// Returns the place where the cursor stands.
    pub(crate) const fn mark(&self) -> Mark<'a> {
        Mark(self.rest)
    }

    /// Moves back to an earlier place.
    pub(crate) const fn go_to(&mut self, mark: Mark<'a>) {
        self.rest = mark.0;
    }

    /// Returns the error for a value read before: the cursor stands behind it then.
    pub(crate) fn wrong<T>(
        &mut self,
        value: RawJson<'a>,
        error: ParseError,
    ) -> Result<T, ParseError> {
        let end = value.as_str().as_ptr().addr().wrapping_add(value.as_str().len());
        let at = end.wrapping_sub(self.text.as_ptr().addr());
        self.rest = self.text.get(at..).unwrap_or(self.rest);
        Err(error)
    }

    /// Returns the number of bytes read so far.
    pub const fn position(&self) -> usize {
        // `rest` is the end of `text`.
        self.text.len().saturating_sub(self.rest.len())
    }

    /// Returns the part that has not been read.
    pub(crate) const fn rest(&self) -> &'a str {
        self.rest
    }

    fn step(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn span(&self, start: usize) -> Result<&'a str, ParseError> {
        self.text.get(start..self.position()).ok_or(ParseError::UnexpectedEnd)
    }

    fn next(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Returns the next byte that is not white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        match self.next() {
            Some(..=b' ') => self.peek_after_space(),
            next => next,
        }
    }

    /// Messages are written without white space.
    #[cold]
    #[inline(never)]
    fn peek_after_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next() {
            self.step(1);
        }
        self.next()
    }

    fn unexpected(&self) -> ParseError {
        if self.rest.is_empty() { ParseError::UnexpectedEnd } else { ParseError::UnexpectedByte }
    }

    /// Steps over `c` if it is next.
    #[inline]
    pub(super) fn accept(&mut self, c: char) -> bool {
        self.peek();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    #[inline]
    fn expect(&mut self, c: char) -> Result<(), ParseError> {
        if self.accept(c) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Returns the error for a typed read: [`ParseError::WrongType`] at a value of another type,
    /// else that of broken JSON.
    fn mismatch(&mut self) -> ParseError {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                ParseError::WrongType
            }
            _ => self.unexpected(),
        }
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Result<(), ParseError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(ParseError::UnexpectedByte),
        }
    }

    /// Enters an object.
    pub fn object(&mut self) -> Result<Object<'a>, ParseError> {
        if self.peek() != Some(b'{') {
            return Err(self.mismatch());
        }
        self.enter()?;
        Ok(Object {
            start: self.position().saturating_sub(1),
            first: true,
            key: "",
            seen: 0,
            other: false,
            kept: 0,
        })
    }

    /// Returns the next key of `object`, or `None` after its end. The value must be read next.
    ///
    /// Objects of the protocol have plain keys: one with escapes is [`ParseError::EscapedKey`].
    pub fn key(&mut self, object: &mut Object<'a>) -> Result<Option<&'a str>, ParseError> {
        let before = if object.first { Some(self.rest) } else { self.rest.strip_prefix(',') };
        if let Some((key, rest)) = before.and_then(plain_key) {
            (object.first, object.key, self.rest) = (false, key, rest);
            return Ok(Some(key));
        }
        if self.accept('}') {
            self.depth = self.depth.saturating_sub(1);
            return Ok(None);
        }
        if !object.first {
            self.expect(',')?;
        }
        object.first = false;
        let key = self.spaced_key()?.as_str().ok_or(ParseError::EscapedKey)?;
        object.key = key;
        Ok(Some(key))
    }

    /// Reads a key and the colon after it.
    #[inline]
    pub(super) fn any_key(&mut self) -> Result<JsonStr<'a>, ParseError> {
        let Some((key, rest)) = plain_key(self.rest) else {
            return self.spaced_key();
        };
        self.rest = rest;
        Ok(JsonStr::from_span(key, false))
    }

    /// Reads a key with escapes or white space around it.
    #[cold]
    #[inline(never)]
    fn spaced_key(&mut self) -> Result<JsonStr<'a>, ParseError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        self.expect(':')?;
        Ok(key)
    }

    /// Checks and steps over the value of a key that the message does not define; the object's
    /// [`Members`] will hold it.
    pub fn unknown(&mut self, object: &mut Object<'a>) -> Result<(), ParseError> {
        self.unique(object.start, JsonStr::new(object.key), &mut object.seen)?;
        object.other = true;
        self.value().map(drop)
    }

    /// Returns the members of `object`, which has ended, without the `named` ones the message
    /// defines.
    pub fn members(&self, object: &Object<'a>, named: &'static [&'static str]) -> Members<'a> {
        match self.span(object.start) {
            Ok(span) if object.other => Members::of(span, named, object.kept),
            _ => Members::EMPTY,
        }
    }

    /// Reads a value that decides nothing. `null` is none, and so is a value that `read` refuses:
    /// that one is kept among the unknown members, as it is.
    #[inline(never)]
    pub(crate) fn beside<T>(
        &mut self,
        object: &mut Object<'a>,
        read: fn(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.peek();
        let (rest, depth) = (self.rest, self.depth);
        let value = self.nullable(read);
        if value.is_ok() {
            return value;
        }
        (self.rest, self.depth, self.field) = (rest, depth, "");
        object.kept |= fingerprint(JsonStr::new(object.key));
        object.other = true;
        self.kept().map(|_| None)
    }

    /// Does as [`Cursor::unknown`], for an object whose unknown members decide nothing.
    pub(crate) fn unknown_beside(&mut self, object: &mut Object<'a>) -> Result<(), ParseError> {
        self.unique(object.start, JsonStr::new(object.key), &mut object.seen)?;
        object.other = true;
        self.kept().map(drop)
    }

    /// Steps over a value of any type by JSON's grammar alone: keys may repeat, and surrogates be
    /// halves.
    pub(crate) fn kept(&mut self) -> Result<RawJson<'a>, ParseError> {
        let first = self.peek();
        let (start, before) = (self.position(), self.rest);
        let rescan = self.rescan.take();
        let stepped = match first {
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') => self.container().or_else(|error| {
                let too_deep = error == ParseError::TooDeep;
                self.rest = if too_deep { before } else { self.rest };
                if too_deep { self.deep() } else { Err(error) }
            }),
            _ => self.scalar(),
        };
        self.rescan = rescan;
        stepped?;
        self.since(start)
    }

    /// Does as [`Cursor::kept`], for an object.
    pub(crate) fn kept_object(&mut self) -> Result<RawJson<'a>, ParseError> {
        if self.peek() == Some(b'{') { self.kept() } else { Err(self.mismatch()) }
    }

    /// Reads `null`, which stands for an absent field, or a value.
    pub fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        if self.peek() == Some(b'n') {
            return self.literal("null").map(|()| None);
        }
        read(self).map(Some)
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        if self.depth >= limits::DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.depth = self.depth.saturating_add(1);
        self.step(1);
        Ok(())
    }

    /// Enters an array.
    pub fn array(&mut self) -> Result<(), ParseError> {
        if self.peek() != Some(b'[') {
            return Err(self.mismatch());
        }
        self.enter()
    }

    /// Returns whether the array entered has another element, which must be read next. `first`
    /// starts `true` and is kept by the caller.
    pub fn element(&mut self, first: &mut bool) -> Result<bool, ParseError> {
        if self.accept(']') {
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !*first {
            self.expect(',')?;
        }
        *first = false;
        Ok(true)
    }

    /// Reads a string.
    #[inline]
    pub fn string(&mut self) -> Result<JsonStr<'a>, ParseError> {
        match self.plain_string() {
            Some(text) => Ok(JsonStr::from_span(text, false)),
            None => self.string_with_escapes(),
        }
    }

    /// Reads a string, if it is one without escapes: almost all are, and this fits two registers.
    fn plain_string(&mut self) -> Option<&'a str> {
        self.peek();
        let text = self.rest.strip_prefix('"')?;
        let (text, rest) = text.split_at_checked(plain(text.as_bytes()))?;
        self.rest = rest.strip_prefix('"')?;
        Some(text)
    }

    #[cold]
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<JsonStr<'a>, ParseError> {
        if self.peek() != Some(b'"') {
            return Err(self.mismatch());
        }
        self.step(1);
        let start = self.position();
        loop {
            self.step(plain(self.rest.as_bytes()));
            match self.next() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(ParseError::InvalidString),
                None => return Err(ParseError::UnexpectedEnd),
            }
        }
        let text = self.span(start)?;
        self.step(1);
        Ok(JsonStr::from_span(text, true))
    }

    /// Steps over one escape sequence, or the two of a surrogate pair.
    fn escape(&mut self) -> Result<(), ParseError> {
        match self.rest.as_bytes().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step(2);
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit()?;
                match unit {
                    _ if self.rescan.is_none() => Ok(()),
                    0xdc00..=0xdfff => Err(ParseError::InvalidString),
                    0xd800..=0xdbff => match self.unit()? {
                        0xdc00..=0xdfff => Ok(()),
                        _ => Err(ParseError::InvalidString),
                    },
                    _ => Ok(()),
                }
            }
            Some(_) => Err(ParseError::InvalidString),
            None => Err(ParseError::UnexpectedEnd),
        }
    }

    /// Steps over `\uXXXX`.
    fn unit(&mut self) -> Result<u32, ParseError> {
        let [b'\\', b'u', hex @ ..] = self.rest.as_bytes() else {
            return Err(ParseError::InvalidString);
        };
        let hex = hex.get(..4).ok_or(ParseError::UnexpectedEnd)?;
        let mut unit = 0u32;
        for &byte in hex {
            let digit = char::from(byte).to_digit(16).ok_or(ParseError::InvalidString)?;
            unit = (unit << 4) | digit;
        }
        self.step(6);
        Ok(unit)
    }

    fn literal(&mut self, word: &str) -> Result<(), ParseError> {
        if self.rest.starts_with(word) {
            self.step(word.len());
            Ok(())
        } else {
            Err(ParseError::UnexpectedByte)
        }
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, ParseError> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(self.mismatch()),
        }
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let run = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        self.step(run);
        if run == 0 { Err(ParseError::InvalidNumber) } else { Ok(()) }
    }

    /// Reads a number and returns its text.
    pub fn number(&mut self) -> Result<&'a str, ParseError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.mismatch());
        }
        let start = self.position();
        if self.next() == Some(b'-') {
            self.step(1);
        }
        if self.next() == Some(b'0') {
            self.step(1);
        } else {
            self.digits()?;
        }
        if self.next() == Some(b'.') {
            self.step(1);
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.next() {
            self.step(1);
            if let Some(b'+' | b'-') = self.next() {
                self.step(1);
            }
            self.digits()?;
        }
        if let Some(b'0'..=b'9' | b'.' | b'+' | b'-') = self.next() {
            return Err(ParseError::InvalidNumber);
        }
        self.span(start)
    }

    /// Reads a whole number from 0 to 2^64-1, however it is written: `60`, `60.0` and `6e1` are one.
    pub fn integer(&mut self) -> Result<u64, ParseError> {
        let text = self.number()?;
        text.parse().ok().or_else(|| whole(text)).ok_or(ParseError::WrongType)
    }

    /// Reads an amount: a string of decimal digits.
    pub fn amount(&mut self) -> Result<Amount, ParseError> {
        let text = self.string()?.as_str().ok_or(ParseError::InvalidAmount)?;
        Amount::parse(text)
    }

    /// Reads an object of any content as a raw span.
    pub fn raw_object(&mut self) -> Result<RawJson<'a>, ParseError> {
        if self.peek() != Some(b'{') {
            return Err(self.mismatch());
        }
        self.value()
    }

    /// Reads an array of any content as a raw span.
    pub fn raw_array(&mut self) -> Result<RawJson<'a>, ParseError> {
        if self.peek() != Some(b'[') {
            return Err(self.mismatch());
        }
        self.value()
    }

    /// Reads a network.
    pub fn network(&mut self) -> Result<Network<'a>, ParseError> {
        Network::parse(self.string()?.as_str().ok_or(ParseError::InvalidNetwork)?)
    }

    /// Reads a version number.
    pub fn version(&mut self) -> Result<Version, ParseError> {
        Version::from_number(self.integer()?)
    }

    /// Returns the checked value that started at `start` and has just been read.
    pub(crate) fn since(&self, start: usize) -> Result<RawJson<'a>, ParseError> {
        self.span(start).map(RawJson::of)
    }

    /// Checks and steps over one value of any type, and returns its span.
    pub fn value(&mut self) -> Result<RawJson<'a>, ParseError> {
        let first = self.peek();
        let start = self.position();
        match first {
            Some(b'"') => drop(self.string()?),
            Some(b'{' | b'[') if self.rescan.is_none() => self.skip()?,
            Some(b'{' | b'[') => self.container()?,
            _ => self.scalar()?,
        }
        self.since(start)
    }

    /// Steps over a value that is no object, array or string.
    fn scalar(&mut self) -> Result<(), ParseError> {
        match self.peek() {
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => Err(self.unexpected()),
        }
    }

    /// Steps over an object or array, looking at strings and brackets only.
    fn skip(&mut self) -> Result<(), ParseError> {
        let (mut open, mut rest) = (0usize, self.rest.as_bytes());
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'"' => rest = after_string(rest),
                b'{' | b'[' => open = open.saturating_add(1),
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        self.step(self.rest.len().saturating_sub(rest.len()));
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        self.rest = "";
        Err(ParseError::UnexpectedEnd)
    }

    /// Steps over an object or array nested deeper than the reader looks: by JSON's grammar alone, and
    /// below 128 levels by brackets alone.
    #[cold]
    #[inline(never)]
    fn deep(&mut self) -> Result<(), ParseError> {
        // Of each level a bit: whether it is an object.
        let (mut levels, mut open) = (0u128, 0u32);
        loop {
            match self.peek() {
                Some(b'{' | b'[') if open == u128::BITS => self.skip()?,
                Some(first @ (b'{' | b'[')) => {
                    let is_object = first == b'{';
                    self.step(1);
                    if !self.accept(closing(is_object)) {
                        open = open.saturating_add(1);
                        levels = (levels << 1) | u128::from(is_object);
                        if is_object {
                            self.any_key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                _ => self.scalar()?,
            }
            // A value has ended, and perhaps its container.
            loop {
                if open == 0 {
                    return Ok(());
                }
                let is_object = levels & 1 == 1;
                if self.accept(closing(is_object)) {
                    open = open.saturating_sub(1);
                    levels >>= 1;
                    continue;
                }
                self.expect(',')?;
                if is_object {
                    self.any_key()?;
                }
                break;
            }
        }
    }

    /// Checks and steps over an object or array.
    #[inline(never)] // its levels are a kilobyte of stack, which most values do without
    fn container(&mut self) -> Result<(), ParseError> {
        let mut levels = [Level { start: ARRAY, seen: 0 }; limits::DEPTH];
        let mut open = self.depth;
        'value: loop {
            match self.peek() {
                Some(b'{') => {
                    let level = levels.get_mut(open).ok_or(ParseError::TooDeep)?;
                    // Texts are shorter than 4 GiB: see limits::MESSAGE_BYTES.
                    level.start =
                        u32::try_from(self.position()).map_err(|_| ParseError::TooLong)?;
                    level.seen = 0;
                    self.step(1);
                    if !self.accept('}') {
                        open = open.saturating_add(1);
                        self.member_key(level.start, &mut level.seen)?;
                        continue 'value;
                    }
                }
                Some(b'[') => {
                    let level = levels.get_mut(open).ok_or(ParseError::TooDeep)?;
                    level.start = ARRAY;
                    self.step(1);
                    if !self.accept(']') {
                        open = open.saturating_add(1);
                        continue 'value;
                    }
                }
                Some(b'"') => drop(self.string()?),
                _ => self.scalar()?,
            }
            // A value has ended: close the containers that end with it.
            while open > self.depth {
                let top = open.saturating_sub(1);
                let level = levels.get_mut(top).ok_or(ParseError::TooDeep)?;
                let array = level.start == ARRAY;
                if self.accept(',') {
                    if !array {
                        self.member_key(level.start, &mut level.seen)?;
                    }
                    continue 'value;
                }
                self.expect(if array { ']' } else { '}' })?;
                open = top;
            }
            return Ok(());
        }
    }

    fn member_key(&mut self, start: u32, seen: &mut u64) -> Result<(), ParseError> {
        let key = self.any_key()?;
        let start = usize::try_from(start).map_err(|_| ParseError::TooLong)?;
        self.unique(start, key, seen)
    }

    /// Checks that `key`, just read, is not an earlier key of the object that starts at `start`.
    fn unique(&mut self, start: usize, key: JsonStr<'a>, seen: &mut u64) -> Result<(), ParseError> {
        let Some(rescan) = self.rescan else {
            return Ok(());
        };
        let bit = fingerprint(key);
        if *seen & bit == 0 {
            *seen |= bit;
            return Ok(());
        }
        let before = self.text.as_bytes().get(..self.position()).unwrap_or(&[]);
        let end = before.iter().rposition(|&b| b == b'"').unwrap_or(0);
        let start = start.saturating_add(1);
        let until = end.saturating_sub(key.span().0.len()).saturating_sub(1);
        let cost = until.saturating_sub(start);
        self.rescan = Some(rescan.checked_sub(cost).ok_or(ParseError::TooComplex)?);
        let mut earlier = Self::over(self.text.get(start..until).unwrap_or(""));
        // It ends where a key is missing, after the last comma.
        while let Ok(other) = earlier.any_key() {
            if other == key {
                return Err(ParseError::DuplicateKey);
            }
            earlier.value()?;
            earlier.accept(',');
        }
        Ok(())
    }
}

/// Returns a number in JSON's grammar as a whole number from 0 to 2^64-1, if it is one.
#[cold]
#[inline(never)]
fn whole(text: &str) -> Option<u64> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The number of digits before the point, once the exponent has moved it.
    let exponent: i32 = exponent.parse().ok()?;
    let moved = usize::try_from(exponent.unsigned_abs()).ok()?;
    let left = if exponent < 0 { moved } else { 0 };
    let before = whole.len().saturating_add(moved.saturating_sub(left)).saturating_sub(left);
    // Digits of a number below 1 stand this far behind the point.
    let behind = left.saturating_sub(whole.len());
    let digits = whole.bytes().chain(fraction.bytes());
    let mut value = [b'0'; DIGITS];
    let (mut len, mut places) = (0usize, 0usize);
    for digit in digits.chain(core::iter::repeat_n(b'0', DIGITS)) {
        let is_before = places < before && behind == 0;
        places = places.saturating_add(1);
        if !is_before && digit != b'0' {
            return None;
        }
        if is_before && (len > 0 || digit != b'0') {
            *value.get_mut(len)? = digit;
            len = len.saturating_add(1);
        }
    }
    // More zeros follow than there is room for.
    if len > 0 && places < before {
        return None;
    }
    let value = core::str::from_utf8(value.get(..len)?).ok()?;
    let value = if value.is_empty() { 0 } else { value.parse().ok()? };
    (value == 0 || number.len() == text.len()).then_some(value)
}

/// Decimal digits of the largest number.
const DIGITS: usize = 20;

/// Returns the bracket that ends an object or an array.
const fn closing(is_object: bool) -> char {
    if is_object { '}' } else { ']' }
}

/// Returns a key without escapes, and the text right after its colon: the form machines write.
#[inline]
fn plain_key(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let (key, rest) = text.split_at_checked(plain(text.as_bytes()))?;
    Some((key, rest.strip_prefix("\":")?))
}

/// Returns the text behind the string whose opening quote is before `text`, which has been checked.
fn after_string(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.get(plain(text)..).unwrap_or(&[]);
        match text {
            [b'\\', _, rest @ ..] => text = rest,
            [_, rest @ ..] => return rest,
            [] => return text,
        }
    }
}

/// Returns one bit of 64, chosen by the first and last eight bytes of the decoded key.
pub(super) fn fingerprint(key: JsonStr<'_>) -> u64 {
    let (span, escaped) = key.span();
    let ends = span.as_bytes().first_chunk().zip(span.as_bytes().last_chunk());
    let (first, last) = match ends {
        _ if escaped => ends_of(key),
        Some((first, last)) => (u64::from_be_bytes(*first), u64::from_be_bytes(*last)),
        None => {
            let all = span.bytes().fold(0, |all, byte| all << 8 | u64::from(byte));
            (all, all)
        }
    };
    // Moves the last bytes, in which numbered keys differ, to the bits that choose. With this
    // factor no two keys of one object of the protocol get the same bit.
    let mixed = (first ^ last.rotate_left(29)).wrapping_mul(0x4abc_b06a_e8ab_b93f);
    1 << (mixed >> 58)
}

/// Returns the first and last eight bytes of a key with escapes, or all bytes of a shorter one.
#[cold]
fn ends_of(key: JsonStr<'_>) -> (u64, u64) {
    let (mut first, mut last) = (0, 0);
    let mut utf8 = [0; 4];
    let mut len = 0usize;
    for c in key.chars() {
        for &byte in c.encode_utf8(&mut utf8).as_bytes() {
            last = last << 8 | u64::from(byte);
            len = len.saturating_add(1);
            if len <= size_of::<u64>() {
                first = last;
            }
        }
    }
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_object_are_told_apart_at_once() {
        for keys in [
            "scheme network maxAmountRequired resource description mimeType payTo \
             maxTimeoutSeconds asset outputSchema extra",
            "scheme network amount asset payTo maxTimeoutSeconds extra",
            "from to value validAfter validBefore nonce",
            "signature authorization",
            "name version assetTransferMethod feePayer memo transactionVersions recentBlockhash \
             lastValidBlockHeight decimals",
            "x402Version resource accepted payload extensions scheme network",
            "x402Version error resource accepts extensions",
            "url description mimeType serviceName tags iconUrl",
            "success errorReason errorMessage payer transaction network amount extensions extra",
            "isValid invalidReason invalidMessage payer extensions extra",
            "bazaar info schema input output",
            "$schema type properties required additionalProperties description items enum const",
            "type method queryParams body bodyType headers example discoverable",
        ] {
            let keys = keys.split_whitespace();
            let bits = keys.clone().map(|key| fingerprint(JsonStr::new(key)));
            let apart = bits.fold(0, |all, bit| all | bit).count_ones();
            assert_eq!(usize::try_from(apart), Ok(keys.count()));
        }
    }

    #[test]
    fn a_key_has_one_fingerprint_however_it_is_spelt() {
        for (plain, spelt) in [
            ("", ""),
            ("a", "\\u0061"),
            ("payload", "p\\u0061yload"),
            ("accepted", "accepte\\u0064"),
            ("extensions", "\\u0065xtensions"),
            ("a/b/c/d/e/f/g", "a\\/b\\/c\\/d\\/e\\/f\\/g"),
            ("USD₮0 😀", "USD\\u20ae0 \\ud83d\\ude00"),
        ] {
            let spelt = fingerprint(JsonStr::from_span(spelt, true));
            assert_eq!(fingerprint(JsonStr::new(plain)), spelt, "{plain}");
        }
    }
}
