//! Finds the paths that stay below the base of a server behind, however that server reads them.

/// Most times that a path is decoded. A path that still changes then is refused.
const ROUNDS: usize = 8;

/// Whether a path stays below the base, for any number of decodings.
///
/// Plain dot segments (`/a/./b/../c`) may be in it if nothing else in it can be read as a slash or a dot.
/// Any other segment of dots and blanks alone is refused, even if it would stay inside. Control characters
/// and bytes that are not UTF-8 are refused too: overlong forms are spelt so.
pub(super) fn stays(path: &str) -> bool {
    let is_plain = path.split('/').any(is_dots);
    let marks = |text: &str| text.chars().filter(|next| is_slash(*next) || is_dot(*next)).count();
    let plain = path.bytes().filter(|byte| matches!(byte, b'/' | b'.')).count();
    let mut path = path.as_bytes().to_vec();
    for _ in 0..ROUNDS {
        let Ok(text) = std::str::from_utf8(&path) else { return false };
        let is_same = !is_plain || (marks(text) == plain && stays_inside(text));
        let is_clean = text.starts_with('/') && !text.chars().any(char::is_control);
        if !is_clean || !is_same || climbs(text, is_plain) {
            return false;
        }
        let decoded = decoded(&path);
        if decoded == path {
            return true;
        }
        path = decoded;
    }
    false
}

/// A dot segment (RFC 3986 §3.3).
fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Whether no dot segment leads above the first segment. An empty name counts nothing: servers leave it
/// out.
fn stays_inside(path: &str) -> bool {
    let mut depth = 0usize;
    path.split('/').all(|segment| {
        let has_name = !name(segment).chars().all(is_blank);
        match segment {
            "." => true,
            ".." => depth.checked_sub(1).map(|above| depth = above).is_some(),
            _ => {
                depth = depth.saturating_add(usize::from(has_name));
                true
            }
        }
    })
}

/// A segment up to the place where some servers cut it.
fn name(segment: &str) -> &str {
    segment.split(ends_a_name).next().unwrap_or("")
}

/// Decodes every percent-encoded byte, once. Other bytes stay.
pub(super) fn decoded(path: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let (wide, digits) = match after {
            [b'u' | b'U', digits @ ..] => (true, digits.get(..4)),
            digits => (false, digits.get(..2)),
        };
        let number = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            hexadecimal.then(|| u32::from_str_radix(digits, 16).ok())?
        });
        match (first, number, wide) {
            (b'%', Some(number), false) => {
                decoded.extend(u8::try_from(number));
                rest = after.get(2..).unwrap_or_default();
            }
            // `%u002e`, as some servers still read it.
            (b'%', Some(number), true) => {
                let spelt = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
                decoded.extend_from_slice(spelt.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after.get(5..).unwrap_or_default();
            }
            _ => decoded.push(first),
        }
    }
    decoded
}

/// Whether a segment is dots and blanks alone. With `without_plain`, plain dot segments are left out.
fn climbs(path: &str, without_plain: bool) -> bool {
    path.split(is_slash).filter(|segment| !(without_plain && is_dots(segment))).any(|segment| {
        let name = name(segment);
        let is_dots =
            name.contains(is_dot) && name.chars().all(|next| is_dot(next) || is_blank(next));
        is_dots || is_drive(segment)
    })
}

/// `C:`, where a path begins anew on Windows.
fn is_drive(segment: &str) -> bool {
    matches!(segment.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

/// Slashes, and characters that servers turn into one: by likeness, by the yen and won signs of old code
/// pages, or by cutting a character to its last byte.
const fn is_slash(next: char) -> bool {
    let alike = matches!(
        next,
        '/' | '\\'
            | '／'
            | '＼'
            | '∕'
            | '∖'
            | '⁄'
            | '﹨'
            | '⧵'
            | '⧸'
            | '¥'
            | '₩'
            | '￥'
            | '￦'
    );
    alike || matches!(last_byte(next), Some(b'/' | b'\\'))
}

/// The last byte of a wide character, for servers that cut it.
const fn last_byte(next: char) -> Option<u8> {
    let code = next as u32;
    if code > 0xff { Some(code.to_le_bytes()[0]) } else { None }
}

/// Dots, and characters that servers turn into dots.
const fn is_dot(next: char) -> bool {
    let alike =
        matches!(next, '.' | '．' | '․' | '‥' | '…' | '﹒' | '。' | '｡' | '\u{fe19}' | '\u{fe30}');
    alike || matches!(last_byte(next), Some(b'.'))
}

/// Characters that are cut off a name, or invisible in it: Windows ignores blanks at the end, and forms
/// write them as `+`.
const fn is_blank(next: char) -> bool {
    let unseen = matches!(
        next,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    unseen || next.is_whitespace() || next == '+'
}

/// Characters that begin a parameter (`..;a`), a query, a fragment or a stream (`..::$DATA`).
const fn ends_a_name(next: char) -> bool {
    matches!(next, ';' | '；' | '?' | '？' | '#' | '＃' | ':' | '：' | ',' | '&' | '=' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_way_up_stays() {
        let mut ways = vec![
            "/..%2fa",
            "/%ef%b8%b0/a",
            "/%ef%b8%b0%2fa",
            "/%ef%b8%99/a",
            "/%2e%2e%2fa",
            "/%2E%2e/a",
            "/.%2e/a",
            "/..;/a",
            "/..;a=b/c",
            "/..%3b/a",
            "/%252e%252e/a",
            "/%25252e%25252e%25252fa",
            "/..%5ca",
            "/..%255ca",
            "/..\\a",
            "/a/..\\b",
            "/a%5c..%5cb",
            "/%2e%2e%5c",
            "/%2e/a",
            "/a/%2e%2e",
            "/..",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/a/./../../b",
            "//../a",
            "/;/../a",
            "/;b/../a",
            "/%3b/../a",
            "/+/../a",
            "/%20/../a",
            "/a%2fb/../%2e%2e/c",
            "/a%2fb/../../c",
            "/a%2fb/../c",
            "/a\\b/../c",
            "/%2e/../a",
            "/a/../%2e%2e/b",
            "/a/../.../b",
            "/a/../.%20/b",
            "/a/../%25%32%65%25%32%65/b",
            "/a/%ef%bc%8e%ef%bc%8e/../b",
            "/.. /a",
            "/..%20/a",
            "/%20../a",
            "/..+/a",
            "/..%09/a",
            "/.../a",
            "/..../a",
            "/%2e%2e%20%2e/a",
            "/..%00/a",
            "/a%00",
            "/a%00.html",
            "/a%0d%0ab",
            "/a%7f",
            "/a%c2%85b",
            "/%c0%ae%c0%ae/a",
            "/..%c0%afa",
            "/..%c1%9ca",
            "/%e0%80%ae%e0%80%ae/",
            "/%f0%80%80%ae/",
            "/%ff",
            "/..%u2215a",
            "/%u002e%u002e/a",
            "/%uff0e%uff0e/a",
            "/%ef%bc%8e%ef%bc%8e/a",
            "/..%ef%bc%8fa",
            "/%e2%80%a5/a",
            "/%e2%80%a6/a",
            "/..%3fa",
            "/..%23a",
            "/..%253fa",
            "/..::$DATA/a",
            "/%%32%65%%32%65/a",
            "/%2%65%2%65/a",
            "/.%e2%80%8b./a",
            "/..;%2f..;%2fa",
            "/..%c2%a5a",
            "/..%e2%82%a9a",
            "/%c4%ae%c4%ae%c4%afa",
            "/%ef%bc%ae%ef%bc%ae/a",
            "/.%ef%b8%8f./a",
            "/.%cd%8f./a",
            "/C:%5cwindows",
            "/a/c:/b",
            "",
            "*",
            "a",
            "../a",
        ];
        // Encoded more often than any server decodes.
        let deep = format!("/%{}41", "25".repeat(40));
        ways.push(&deep);
        for way in ways {
            assert!(!stays(way), "{way}");
        }
    }

    #[test]
    fn other_paths_stay() {
        for path in [
            "/",
            "//",
            "/a//b",
            "/a",
            "/a/b.c",
            "/.well-known/x",
            "/..a",
            "/a..",
            "/a..b/c",
            "/...a",
            "/a%20b",
            "/100%25",
            "/100%",
            "/%zz",
            "/%",
            "/a%2fb",
            "/a%5cb",
            "/a;v=1",
            "/a:b",
            "/caf%c3%a9",
            "/%f0%9f%8e%89",
            "/a+b",
            "/~a",
            "/a=b&c",
            "/a%252fb",
            "/@a/-/a-1.2.3.tgz",
            "/+.a",
            "/a\\b",
            "/a'b{c}\"^|",
            "/.",
            "/./a",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/a/b/../../c",
            "/a;/../b",
            "/a.b/../c%20d/..",
        ] {
            assert!(stays(path), "{path}");
        }
    }
}
