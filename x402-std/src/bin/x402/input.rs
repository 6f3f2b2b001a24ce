//! Input: arguments, files and stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use x402_std::core::{base64, limits};
use zeroize::Zeroizing;

use crate::Failure;

/// Most bytes of a text that are read. White space aside, every message is shorter.
const TEXT_BYTES: usize = limits::SUPPORTED_BYTES + 1;

/// Reads the text that an argument stands for (itself, `@FILE`, or `-` for stdin), trimmed. A longer
/// text is cut where it is too long for every reader.
pub(crate) fn text(argument: &str) -> Result<Vec<u8>, Failure> {
    let text = if argument == "-" {
        start(io::stdin().lock(), TEXT_BYTES)?
    } else if let Some(path) = argument.strip_prefix('@') {
        file(path, TEXT_BYTES)?
    } else {
        argument.into()
    };
    Ok(if text.len() < TEXT_BYTES { text.trim_ascii().to_vec() } else { text })
}

/// As [`text`]. A text that is no JSON object is decoded from base64.
pub(crate) fn message(argument: &str) -> Result<Vec<u8>, Failure> {
    let text = text(argument)?;
    if text.starts_with(b"{") {
        return Ok(text);
    }
    // Either alphabet is accepted here: signing and verifying read more strictly.
    let mut json = vec![0; base64::decoded_len(text.len().min(limits::HEADER_BYTES))];
    let len = base64::decode_any(&text, &mut json).map_err(Failure::read)?.len();
    json.truncate(len);
    Ok(json)
}

/// Reads a file, or its first `most` bytes. Errors leave out its name: it may be a misplaced key.
pub(crate) fn file(path: impl AsRef<Path>, most: usize) -> Result<Vec<u8>, Failure> {
    start(File::open(path).map_err(unreadable)?, most)
}

/// As [`file()`], without leaving a copy in memory.
pub(crate) fn secret_file(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let file = File::open(path).map_err(unreadable)?;
    // With room to spare: a buffer that grows leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(64)));
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn start(source: impl Read, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    source.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::unusable(format_args!("cannot read the file: {error}"))
}

/// 32 bytes as 64 hexadecimal digits, with or without `0x`.
pub(crate) fn hex32(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let (pairs, odd) = digits.as_chunks::<2>();
    if pairs.len() != 32 || !odd.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
