//! Wires that end in this memory. Nothing waits at their other end, and nothing is lost.

use embedded_io::{ErrorType, Read, Write};
use x402_boards::stream::{Broken, Entropy, Link};

/// A server that wants to see something in each request, in this order, and then gives the answer.
#[derive(Debug)]
pub struct Server<'a>(pub &'a [(&'a [u8], &'a [u8])]);

impl<'a> Link for Server<'a> {
    type Stream<'s>
        = Wire<'a>
    where
        Self: 's;

    fn open(&mut self) -> Result<Wire<'a>, Broken> {
        let (&(wanted, answer), rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(Wire::new(wanted, answer))
    }
}

/// A wire on which `answer` comes and `wanted` is expected to be sent, in one piece.
#[derive(Debug)]
pub struct Wire<'a> {
    wanted: &'a [u8],
    answer: &'a [u8],
    seen: bool,
}

impl<'a> Wire<'a> {
    /// Expects `wanted`, which may be empty.
    pub const fn new(wanted: &'a [u8], answer: &'a [u8]) -> Self {
        Self { wanted, answer, seen: wanted.is_empty() }
    }
}

impl ErrorType for Wire<'_> {
    type Error = Broken;
}

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        self.answer.read(out).map_err(|never| match never {})
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.seen |= bytes == self.wanted;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Broken> {
        if self.seen { Ok(()) } else { Err(Broken) }
    }
}

/// The numbers that the recorded payment was made with.
#[derive(Debug)]
pub struct Recorded(pub &'static [u8]);

impl Entropy for Recorded {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().zip(self.0).for_each(|(place, byte)| *place = *byte);
    }
}
