//! The interface of a board and of its wires to the protocol code.

/// A pair of wires to somebody who speaks HTTP: a TCP connection, a serial line, TLS over either.
pub trait Stream: embedded_io::Read + embedded_io::Write {}

impl<S: embedded_io::Read + embedded_io::Write> Stream for S {}

/// A way to one server.
pub trait Link {
    /// The stream it opens.
    type Stream<'s>: Stream
    where
        Self: 's;

    /// A stream that is ready for a request: a new connection, or the same serial line again.
    fn open(&mut self) -> Result<Self::Stream<'_>, Broken>;
}

/// The wire does not carry: refused, closed, or silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the wire is broken")
    }
}

impl core::error::Error for Broken {}

impl embedded_io::Error for Broken {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

/// Time since the board started.
pub trait Clock {
    /// Milliseconds; they never go back.
    fn millis(&self) -> u64;
}

/// Random numbers that nobody can guess. A guessed nonce reveals nothing and steals nothing, but an
/// attacker may spend it first, so that a payment fails.
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}
