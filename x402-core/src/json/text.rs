use core::fmt;

/// A JSON string, borrowed as it stands in the text; escapes are decoded on demand.
///
/// Made from a `&str`, it stands for that text and is escaped when written. Read from JSON, it was
/// checked, and is written again exactly as it was read. Comparing and printing use the decoded
/// characters.
///
/// ```
/// use x402_core::json::{JsonStr, RawJson};
/// let raw = RawJson::parse(br#""USD\u20ae0""#)?;
/// let name = raw.as_string().unwrap();
/// assert_eq!(name, "USD₮0");
/// assert_eq!(name.as_str(), None); // it has escapes, so there is no plain slice of it
/// # Ok::<(), x402_core::ParseError>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct JsonStr<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> JsonStr<'a> {
    /// Makes a string that stands for `text` itself.
    pub const fn new(text: &'a str) -> Self {
        Self { text, escaped: false }
    }

    /// Wraps the span between the quotes of a checked JSON string.
    pub(crate) const fn from_span(text: &'a str, escaped: bool) -> Self {
        Self { text, escaped }
    }

    /// Returns the text, if it was written without escapes.
    pub const fn as_str(self) -> Option<&'a str> {
        if self.escaped { None } else { Some(self.text) }
    }

    /// Returns the span as it stands between the quotes, and whether escapes are in it.
    pub(crate) const fn span(self) -> (&'a str, bool) {
        (self.text, self.escaped)
    }

    /// Returns the decoded characters.
    pub fn chars(self) -> Chars<'a> {
        Chars { rest: self.text.chars(), escaped: self.escaped }
    }

    /// Returns whether the decoded text is empty.
    pub const fn is_empty(self) -> bool {
        self.text.is_empty()
    }

    /// Copies the decoded text in UTF-8 to the front of `out`; `None` if it does not fit.
    pub fn decode_into(self, out: &mut [u8]) -> Option<&str> {
        let mut len = 0usize;
        for c in self.chars() {
            let mut utf8 = [0; 4];
            let utf8 = c.encode_utf8(&mut utf8).as_bytes();
            let place = out.get_mut(len..)?.get_mut(..utf8.len())?;
            place.iter_mut().zip(utf8).for_each(|(to, from)| *to = *from);
            len = len.checked_add(utf8.len())?;
        }
        core::str::from_utf8(out.get(..len)?).ok()
    }
}

/// Returns how many bytes at the start stand for themselves in a JSON string: no quote, backslash or
/// control character.
#[inline]
pub(super) fn plain(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        let stops = stops(*word);
        if stops != 0 {
            let before = text.len().wrapping_sub(rest.len());
            return before.wrapping_add(stops.trailing_zeros() as usize / 8);
        }
        rest = after;
        let read = text.len().wrapping_sub(rest.len());
        if cfg!(target_pointer_width = "64") && read == LONG {
            rest = skip_plain_blocks(rest);
        }
    }
    plain_to_end(text, rest)
}

/// The length in bytes from which a string counts as long.
const LONG: usize = 64;

/// Skips blocks without a stop; on processors with vector registers, faster than word by word.
#[inline(never)]
fn skip_plain_blocks(mut text: &[u8]) -> &[u8] {
    let stop = |b: u8| u8::from(b == b'"') | u8::from(b == b'\\') | u8::from(b < b' ');
    while let Some((block, after)) = text.split_first_chunk::<32>() {
        if block.iter().fold(0, |any, &b| any | stop(b)) != 0 {
            break;
        }
        text = after;
    }
    text
}

/// Does as [`plain`], when `rest` at the end, less than a word, remains to be looked at.
#[inline(never)]
fn plain_to_end(text: &[u8], rest: &[u8]) -> usize {
    // Looks at the last word once more, with some bytes from before `rest`.
    if text.last_chunk().is_some_and(|word| stops(*word) == 0) {
        return text.len();
    }
    let run = rest.iter().take_while(|b| matches!(b, b' '..=b'!' | b'#'..=b'[' | b']'..)).count();
    text.len().wrapping_sub(rest.len()).wrapping_add(run)
}

/// Returns a word with the top bit of each byte that does not stand for itself. The lowest bit set
/// belongs to the first such byte; above it there may be some too many.
#[inline]
fn stops(word: [u8; size_of::<usize>()]) -> usize {
    const ONES: usize = usize::MAX / 0xff;
    const fn all(byte: u8) -> usize {
        ONES.wrapping_mul(byte as usize)
    }
    let word = usize::from_le_bytes(word);
    // A byte's top bit shows that subtracting has borrowed; a borrow takes from the next byte. With
    // its second bit turned, a quote is a space, which is next to the control characters.
    let quote = (word ^ all(b'"' ^ b' ')).wrapping_sub(all(b' ' + 1));
    let backslash = (word ^ all(b'\\')).wrapping_sub(ONES);
    (quote | backslash) & !word & all(0x80)
}

/// The decoded characters of a [`JsonStr`].
#[derive(Clone)]
pub struct Chars<'a> {
    rest: core::str::Chars<'a>,
    escaped: bool,
}

impl Chars<'_> {
    fn unit(&mut self) -> u32 {
        let mut unit = 0u32;
        for _ in 0..4 {
            let digit = self.rest.next().and_then(|c| c.to_digit(16)).unwrap_or(0);
            unit = (unit << 4) | digit;
        }
        unit
    }
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if !self.escaped || c != '\\' {
            return Some(c);
        }
        Some(match self.rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut unit = self.unit();
                if (0xd800..0xdc00).contains(&unit) {
                    // A half by itself is only in texts that decide nothing.
                    let mut pair = self.clone();
                    let escape = (pair.rest.next(), pair.rest.next());
                    let low = pair.unit();
                    if escape == (Some('\\'), Some('u')) && (0xdc00..0xe000).contains(&low) {
                        *self = pair;
                        let offset = ((unit & 0x3ff) << 10) | (low & 0x3ff);
                        unit = offset.wrapping_add(0x10000);
                    }
                }
                char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        })
    }
}

impl<'a> From<&'a str> for JsonStr<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text)
    }
}

impl PartialEq for JsonStr<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.as_str(), other.as_str()) {
            (Some(a), Some(b)) => a == b,
            _ => self.chars().eq(other.chars()),
        }
    }
}

impl Eq for JsonStr<'_> {}

impl PartialEq<str> for JsonStr<'_> {
    fn eq(&self, other: &str) -> bool {
        *self == JsonStr::new(other)
    }
}

impl PartialEq<&str> for JsonStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == JsonStr::new(other)
    }
}

impl fmt::Display for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        match self.as_str() {
            Some(text) => f.write_str(text),
            None => self.chars().try_for_each(|c| f.write_char(c)),
        }
    }
}

impl fmt::Debug for JsonStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        self.chars().flat_map(char::escape_debug).try_for_each(|c| f.write_char(c))?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ends_at_the_first_stop() {
        let is_stop = |b: u8| b == b'"' || b == b'\\' || b < 0x20;
        let fills = [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff];
        // An interpreter gets through a few.
        let (most, fills) = if cfg!(miri) { (9, &fills[..1]) } else { (200, &fills[..]) };
        let lens = (0..48).chain([63, 64, 65, 71, 95, 96, 97, 127, 128, 129, 160, 200]);
        for len in lens.filter(|len| *len <= most) {
            for &fill in fills {
                let mut text = std::vec![fill; len];
                assert_eq!(plain(&text), len, "{fill:#x} * {len}");
                for at in 0..len {
                    for byte in [b'"', b'\\', 0, 0x1f, 0x21, 0x5b, 0x82] {
                        text[at] = byte;
                        // The bytes after a stop must not move it.
                        let after = text.get(at + 1).copied();
                        for next in [fill, b'"', 0x01, 0x23, 0x5d] {
                            if let Some(place) = text.get_mut(at + 1) {
                                *place = next;
                            }
                            let expected = text.iter().position(|b| is_stop(*b)).unwrap_or(len);
                            assert_eq!(plain(&text), expected, "{byte:#x} at {at} of {len}");
                        }
                        if let Some(place) = text.get_mut(at + 1) {
                            *place = after.unwrap_or(fill);
                        }
                    }
                    text[at] = fill;
                }
            }
        }
    }
}
