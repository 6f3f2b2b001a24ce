//! As much HTTP/1.1 as a payment needs, over any stream, in the caller's memory.

use core::fmt::{self, Write as _};

use embedded_io::Write;
use httparse::Status;
use x402_core::http;

use crate::stream::{Broken, Stream};

/// Headers that are read of a message; more are [`HttpError::TooLong`].
const HEADERS: usize = 40;

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The wire does not carry, or ended in the middle.
    Broken,
    /// It is longer than the caller's memory, or has more headers than [`HEADERS`].
    TooLong,
    /// It is not HTTP, or says its length twice, differently or in a way that is not understood.
    Malformed,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the wire is broken",
            Self::TooLong => "the message is too long",
            Self::Malformed => "not HTTP",
        })
    }
}

impl core::error::Error for HttpError {}

impl From<Broken> for HttpError {
    fn from(Broken: Broken) -> Self {
        Self::Broken
    }
}

/// The part of a message after its first line. Borrows from the caller's memory.
#[derive(Clone, Copy, Debug)]
pub struct Content<'m> {
    head: &'m [u8],
    /// The body.
    pub body: &'m [u8],
}

impl<'m> Content<'m> {
    /// Names and values of the headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'m str, &'m [u8])> {
        self.head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.strip_prefix(b":")?.trim_ascii();
            Some((core::str::from_utf8(name).ok()?, value))
        })
    }

    /// The value of a header.
    pub fn header(&self, wanted: &str) -> Option<&'m [u8]> {
        self.headers().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }

    /// Unix seconds of the `Date` header.
    pub fn unix_time(&self) -> Option<u64> {
        http::unix_time(core::str::from_utf8(self.header("date")?).ok()?)
    }
}

/// An answer, and where it lies in the caller's memory, which is borrowed only as long as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    head: usize,
    end: usize,
}

impl Answer {
    /// Headers and body, out of the memory that the answer was read into.
    pub fn content<'m>(&self, memory: &'m [u8]) -> Content<'m> {
        let answer = memory.get(..self.end).unwrap_or_default();
        let (head, body) = answer.split_at_checked(self.head).unwrap_or_default();
        Content { head, body }
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'m> {
    /// Its method.
    pub method: &'m str,
    /// Its path, with the query.
    pub path: &'m str,
    /// Headers and body.
    pub content: Content<'m>,
}

/// Sends a request, and reads the answer into `memory`.
///
/// # Errors
/// [`HttpError`].
pub fn exchange(
    stream: &mut impl Stream,
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &[u8])],
    body: &[u8],
    memory: &mut [u8],
) -> Result<Answer, HttpError> {
    let mut out = Line(stream);
    write!(out, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n").map_err(|_| Broken)?;
    for (name, value) in headers {
        send(out.0, &[name.as_bytes(), b": ", value, b"\r\n"])?;
    }
    if !body.is_empty() {
        write!(out, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
            .map_err(|_| Broken)?;
    }
    send(stream, &[b"\r\n", body])?;
    stream.flush().map_err(|_| Broken)?;
    read_answer(stream, memory)
}

fn read_answer(stream: &mut impl Stream, memory: &mut [u8]) -> Result<Answer, HttpError> {
    let mut filled = 0;
    loop {
        let head = read_head(stream, memory, &mut filled)?;
        let text = memory.get(..head).filter(|head| !head.is_empty()).ok_or(HttpError::Broken)?;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        parsed(answer.parse(text), head)?;
        let status = answer.code.ok_or(HttpError::Malformed)?;
        // "Continue" and the like: the answer is yet to come.
        if status < 200 {
            memory.copy_within(head..filled, 0);
            filled = filled.saturating_sub(head);
            continue;
        }
        let length = match status {
            204 | 304 => Length::Bytes(0),
            _ => Length::of(answer.headers, Length::ToTheEnd)?,
        };
        let end = read_body(stream, memory, head, filled, length)?;
        return Ok(Answer { status, head, end });
    }
}

/// Reads a request. `None` if the stream ends before one.
///
/// # Errors
/// [`HttpError`].
pub fn read_request<'m>(
    stream: &mut impl Stream,
    memory: &'m mut [u8],
) -> Result<Option<Request<'m>>, HttpError> {
    let (mut headers, mut filled) = ([httparse::EMPTY_HEADER; HEADERS], 0);
    let head = read_head(stream, memory, &mut filled)?;
    if head == 0 {
        return Ok(None);
    }
    let mut request = httparse::Request::new(&mut headers);
    parsed(request.parse(memory.get(..head).unwrap_or_default()), head)?;
    let length = Length::of(request.headers, Length::Bytes(0))?;
    let end = read_body(stream, memory, head, filled, length)?;
    let content = Answer { status: 0, head, end }.content(memory);
    let line = content.head.split(|byte| *byte == b'\r' || *byte == b'\n').next();
    let mut words = core::str::from_utf8(line.unwrap_or_default())
        .map_err(|_| HttpError::Malformed)?
        .split(' ');
    let (method, path) = words.next().zip(words.next()).ok_or(HttpError::Malformed)?;
    Ok(Some(Request { method, path, content }))
}

/// Sends an answer, after which the connection is closed.
///
/// # Errors
/// [`HttpError::Broken`].
pub fn answer(
    stream: &mut impl Stream,
    status: u16,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Result<(), HttpError> {
    let words = match status {
        200 => "OK",
        400 => "Bad Request",
        402 => "Payment Required",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Refused",
    };
    let mut out = Line(stream);
    write!(
        out,
        "HTTP/1.1 {status} {words}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n",
        body.len()
    )
    .map_err(|_| Broken)?;
    for (name, value) in headers {
        send(out.0, &[name.as_bytes(), b": ", value, b"\r\n"])?;
    }
    send(stream, &[b"\r\n", body])?;
    stream.flush().map_err(|_| Broken.into())
}

fn send(stream: &mut impl Stream, parts: &[&[u8]]) -> Result<(), HttpError> {
    parts.iter().try_for_each(|part| stream.write_all(part)).map_err(|_| HttpError::Broken)
}

/// Text for a stream.
struct Line<'s, S>(&'s mut S);

impl<S: Write> fmt::Write for Line<'_, S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Reads until the empty line after the headers, what is `filled` already included, and gives the
/// length of all that: 0 if the stream ends before the first byte.
fn read_head(
    stream: &mut impl Stream,
    memory: &mut [u8],
    filled: &mut usize,
) -> Result<usize, HttpError> {
    let mut from = 0usize;
    loop {
        let fresh = memory.get(from..*filled).unwrap_or_default();
        if let Some(end) = fresh.windows(4).position(|end| end == b"\r\n\r\n") {
            return Ok(from.saturating_add(end).saturating_add(4));
        }
        // Of the bytes before, only the last three can be part of the head's end.
        from = filled.saturating_sub(3);
        match read_more(stream, memory, *filled)? {
            None if *filled == 0 => return Ok(0),
            more => *filled = more.ok_or(HttpError::Broken)?,
        }
    }
}

/// Whether the head was understood, and as long as it was thought to be: lines may also end in a
/// mere line feed, but not here.
fn parsed(result: httparse::Result<usize>, head: usize) -> Result<(), HttpError> {
    match result {
        Ok(Status::Complete(len)) if len == head => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(HttpError::TooLong),
        Ok(_) | Err(_) => Err(HttpError::Malformed),
    }
}

/// How long a body is.
#[derive(Clone, Copy)]
enum Length {
    Bytes(usize),
    Chunks,
    ToTheEnd,
}

impl Length {
    fn of(headers: &[httparse::Header<'_>], unsaid: Self) -> Result<Self, HttpError> {
        let mut length = None;
        for header in headers {
            let said = if header.name.eq_ignore_ascii_case("content-length") {
                let digits = core::str::from_utf8(header.value).ok();
                let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let bytes = digits.and_then(|digits| digits.parse().ok());
                Self::Bytes(bytes.ok_or(HttpError::Malformed)?)
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                let chunked = header.value.eq_ignore_ascii_case(b"chunked");
                if chunked { Self::Chunks } else { return Err(HttpError::Malformed) }
            } else {
                continue;
            };
            // Two lengths are how one request is smuggled into another.
            if length.replace(said).is_some() {
                return Err(HttpError::Malformed);
            }
        }
        Ok(length.unwrap_or(unsaid))
    }
}

/// Reads the body behind the head, so that both lie in memory one after the other, and gives the
/// length of both.
fn read_body(
    stream: &mut impl Stream,
    memory: &mut [u8],
    head: usize,
    mut filled: usize,
    length: Length,
) -> Result<usize, HttpError> {
    use HttpError::TooLong;
    let mut end = head;
    match length {
        Length::Bytes(bytes) => {
            end = head.checked_add(bytes).filter(|end| *end <= memory.len()).ok_or(TooLong)?;
            while filled < end {
                filled = read_more(stream, memory, filled)?.ok_or(HttpError::Broken)?;
            }
        }
        Length::ToTheEnd => {
            while let Some(more) = read_more(stream, memory, filled)? {
                filled = more;
            }
            end = filled;
        }
        Length::Chunks => {
            // Each chunk is moved to the end of the body so far.
            let mut next = head;
            loop {
                let rest = memory.get(next..filled).unwrap_or_default();
                let (size_len, size) = match httparse::parse_chunk_size(rest) {
                    Ok(Status::Complete(found)) => found,
                    Ok(Status::Partial) => {
                        filled = read_more(stream, memory, filled)?.ok_or(HttpError::Broken)?;
                        continue;
                    }
                    Err(_) => return Err(HttpError::Malformed),
                };
                let size = usize::try_from(size).map_err(|_| TooLong)?;
                let start = next.saturating_add(size_len);
                // A line end behind it, and no trailers behind the last.
                let stop = start.checked_add(size).ok_or(TooLong)?;
                let after =
                    stop.checked_add(2).filter(|end| *end <= memory.len()).ok_or(TooLong)?;
                while filled < after {
                    filled = read_more(stream, memory, filled)?.ok_or(HttpError::Broken)?;
                }
                if memory.get(stop..after) != Some(b"\r\n") {
                    return Err(HttpError::Malformed);
                }
                if size == 0 {
                    break;
                }
                memory.copy_within(start..stop, end);
                end = end.saturating_add(size);
                next = after;
            }
        }
    }
    Ok(end)
}

/// Reads what there is behind what is `filled`; `None` at the stream's end.
fn read_more(
    stream: &mut impl Stream,
    memory: &mut [u8],
    filled: usize,
) -> Result<Option<usize>, HttpError> {
    let free = memory.get_mut(filled..).filter(|free| !free.is_empty());
    let more = stream.read(free.ok_or(HttpError::TooLong)?).map_err(|_| Broken)?;
    Ok((more != 0).then(|| filled.saturating_add(more)))
}
