use core::fmt;

use super::read::Located;
use super::text::plain;

/// Containers whose keys and indices are shown; anything nested deeper has the place of the last of
/// them.
const SHOWN: usize = 8;

/// Longest key that is shown, in bytes.
const KEY_BYTES: usize = 40;

/// The path to an error in a text, such as `accepts[1].payTo`; empty if it is the text itself.
///
/// It shows keys of the text alone, and of those only plain words: values may be secrets.
#[derive(Clone, Copy, Debug)]
pub struct Place<'t> {
    text: &'t [u8],
    located: Located,
}

impl Located {
    /// Returns the path to the error in the text that was read.
    ///
    /// ```
    /// use x402_core::wire::{Message, PaymentPayload};
    /// let json = br#"{"x402Version":2,"accepted":{"scheme":"exact","amount":1},"payload":{}}"#;
    /// let error = PaymentPayload::parse_located(json).unwrap_err();
    /// assert_eq!(error.place(json).to_string(), "accepted.network");
    /// ```
    pub const fn place<'t>(&self, text: &'t [u8]) -> Place<'t> {
        Place { text, located: *self }
    }
}

/// The walk's position in a container.
#[derive(Clone, Copy)]
struct Level<'t> {
    is_array: bool,
    /// Elements before this one.
    index: usize,
    key: &'t [u8],
    /// Whether a key comes next.
    before_key: bool,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = Level { is_array: false, index: 0, key: &[], before_key: false };
        let (mut levels, mut open) = ([start; SHOWN], 0usize);
        let end = self.located.at.min(self.text.len());
        let mut at = 0usize;
        // An error is noticed at the start of a value or behind it, before the comma.
        while let Some(byte) = self.text.get(at).filter(|_| at < end) {
            let top = open.checked_sub(1).and_then(|top| levels.get_mut(top));
            at = at.saturating_add(1);
            match (byte, top) {
                (b'"', top) => {
                    let rest = self.text.get(at..).unwrap_or_default();
                    let len = string_bytes(rest);
                    if let Some(level) = top.filter(|level| level.before_key) {
                        level.key = rest.get(..len).unwrap_or_default();
                        level.before_key = false;
                    }
                    at = at.saturating_add(len).saturating_add(1);
                }
                (b'{' | b'[', _) => {
                    let is_array = *byte == b'[';
                    if let Some(level) = levels.get_mut(open) {
                        *level = Level { is_array, before_key: !is_array, ..start };
                    }
                    open = open.saturating_add(1);
                }
                (b'}' | b']', _) => open = open.saturating_sub(1),
                (b',', Some(level)) => {
                    level.index = level.index.saturating_add(1);
                    level.before_key = !level.is_array;
                }
                _ => {}
            }
        }
        let field = self.located.field;
        let mut any = false;
        for level in levels.iter().take(open) {
            if level.is_array {
                write!(f, "[{}]", level.index)?;
            } else if !level.key.is_empty() {
                f.write_str(if any { "." } else { "" })?;
                f.write_str(shown(level.key))?;
            }
            any = true;
        }
        if !field.is_empty() {
            f.write_str(if any { "." } else { "" })?;
            f.write_str(field)?;
        }
        Ok(())
    }
}

/// Returns the bytes up to the quote that ends a string.
fn string_bytes(text: &[u8]) -> usize {
    let mut len = 0usize;
    loop {
        let rest = text.get(len..).unwrap_or_default();
        len = len.saturating_add(plain(rest));
        match text.get(len) {
            Some(b'\\') => len = len.saturating_add(2),
            Some(b'"') | None => return len.min(text.len()),
            Some(_) => len = len.saturating_add(1),
        }
    }
}

fn shown(key: &[u8]) -> &str {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-$".contains(byte);
    let key = core::str::from_utf8(key).ok().filter(|key| key.len() <= KEY_BYTES);
    key.filter(|key| key.bytes().all(|byte| word(&byte))).unwrap_or("?")
}
