//! Makes the words of sellers and others safe for a terminal: without characters that steer it, turn the
//! direction of text, or are invisible.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes unsafe characters as `\uXXXX`, which in JSON is the same text. Line ends and tabs stay.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if is_unsafe(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(safe, "\\u{unit:04x}").ok();
            }
        } else {
            safe.push(char);
        }
    }
    safe.into()
}

/// As [`shown`], for JSON: a carriage return between its tokens becomes a space.
pub(crate) fn shown_json(json: &str) -> String {
    shown(&json.replace('\r', " ")).into_owned()
}

fn is_unsafe(char: char) -> bool {
    char.is_control() && !matches!(char, '\n' | '\t') || is_invisible(char)
}

/// Whether a character can hide words: directions, joiners, fillers, variations and tags.
pub(crate) fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Makes a body that comes in pieces safe for a terminal.
#[derive(Default)]
pub(crate) struct Screen {
    /// The start of a character whose end has not come yet.
    rest: Vec<u8>,
    /// Whether some bytes were no text.
    pub(crate) is_binary: bool,
}

impl Screen {
    /// Escapes the next piece; a byte that is no text becomes `\xNN`.
    pub(crate) fn shown(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let (mut out, mut left) = (String::new(), bytes.as_slice());
        while let Err(error) = std::str::from_utf8(left) {
            let (text, after) = left.split_at(error.valid_up_to());
            out += &shown(&String::from_utf8_lossy(text));
            let Some(len) = error.error_len() else {
                self.rest = after.to_vec();
                return out;
            };
            let (wrong, after) = after.split_at(len.min(after.len()));
            self.bytes(wrong, &mut out);
            left = after;
        }
        out += &shown(&String::from_utf8_lossy(left));
        out
    }

    /// Escapes the rest at the end of the body.
    pub(crate) fn end(&mut self) -> String {
        let mut out = String::new();
        let rest = std::mem::take(&mut self.rest);
        self.bytes(&rest, &mut out);
        out
    }

    fn bytes(&mut self, bytes: &[u8], out: &mut String) {
        self.is_binary |= !bytes.is_empty();
        for byte in bytes {
            write!(out, "\\x{byte:02x}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_words_is_escaped() {
        for (text, expected) in [
            ("plain, h\u{e9}llo \u{1f600}\n\tnext", "plain, h\u{e9}llo \u{1f600}\n\tnext"),
            ("\u{1b}]52;c;Zm9v\u{7}", "\\u001b]52;c;Zm9v\\u0007"),
            ("\u{1b}[8mpaid", "\\u001b[8mpaid"),
            ("a\rb\u{8}\u{0}\u{7f}", "a\\u000db\\u0008\\u0000\\u007f"),
            ("\u{9b}31m\u{85}\u{80}", "\\u009b31m\\u0085\\u0080"),
            ("\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}", "\\u202a\\u202b\\u202c\\u202d\\u202e"),
            ("\u{2066}\u{2067}\u{2068}\u{2069}", "\\u2066\\u2067\\u2068\\u2069"),
            ("\u{200e}\u{200f}\u{61c}", "\\u200e\\u200f\\u061c"),
            ("\u{feff}\u{200b}\u{200d}\u{2060}", "\\ufeff\\u200b\\u200d\\u2060"),
            ("\u{2028}\u{2029}\u{3164}", "\\u2028\\u2029\\u3164"),
            ("x\u{e0041}", "x\\udb40\\udc41"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
            if !text.chars().any(|char| char < ' ') {
                let json: String = serde_json::from_str(&format!("\"{}\"", shown(text))).unwrap();
                assert_eq!(json, text, "the same JSON");
            }
        }
        assert_eq!(shown_json("{\r\n \"a\": 1}"), "{ \n \"a\": 1}");
    }

    #[test]
    fn a_body_in_pieces_is_shown_as_in_one() {
        let text = "h\u{e9} \u{1f600}\u{202e}\u{1b}[0m\n".as_bytes();
        let body = [text, &[0xff, 0x80], b"end\xf0\x9f"].concat();
        let expected = "h\u{e9} \u{1f600}\\u202e\\u001b[0m\n\\xff\\x80end\\xf0\\x9f";
        for size in 1..=body.len() {
            let mut screen = Screen::default();
            let mut out: String = body.chunks(size).map(|piece| screen.shown(piece)).collect();
            out += &screen.end();
            assert_eq!((out.as_str(), screen.is_binary), (expected, true), "pieces of {size}");
        }
        let mut screen = Screen::default();
        assert_eq!(screen.shown(text) + &screen.end(), "h\u{e9} \u{1f600}\\u202e\\u001b[0m\n");
        assert!(!screen.is_binary);
    }
}
