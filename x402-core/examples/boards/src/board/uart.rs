//! The serial line.

use embedded_io::{ErrorType, Read, Write};

use super::{Static, arch, millis};
use crate::stream::{Broken, Link};

/// How long a stream lasts unless it is told otherwise.
const TIMEOUT_MS: u64 = 10_000;
/// The rest of an earlier answer has ended after this much silence.
const QUIET_MS: u64 = 20;

static UART: Static<()> = Static::new(());

/// The serial line, with one server at its other end.
#[derive(Debug)]
pub struct Uart(());

impl Uart {
    /// The line, the first time.
    pub fn take() -> Option<Self> {
        UART.take()?;
        arch::uart_start();
        Some(Uart(()))
    }
}

impl Link for Uart {
    type Stream<'s> = Line;

    /// Throws away what was received and not read, then gives the line again.
    fn open(&mut self) -> Result<Line, Broken> {
        let start = millis();
        let mut last = start;
        while millis() - last < QUIET_MS {
            if arch::uart_get().is_some() {
                last = millis();
            }
            if last - start > TIMEOUT_MS {
                return Err(Broken);
            }
        }
        let mut line = Line { deadline: 0 };
        line.set_deadline(TIMEOUT_MS);
        Ok(line)
    }
}

/// The line for one request and its answer. It does not end: an answer must say how long it is.
#[derive(Debug)]
pub struct Line {
    deadline: u64,
}

impl Line {
    /// From `ms` milliseconds from now on, waiting fails.
    pub fn set_deadline(&mut self, ms: u64) {
        self.deadline = millis().saturating_add(ms);
    }

    /// Tries until it works or it is too late.
    fn wait<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Result<T, Broken> {
        while millis() < self.deadline {
            if let Some(value) = attempt() {
                return Ok(value);
            }
        }
        Err(Broken)
    }
}

impl ErrorType for Line {
    type Error = Broken;
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let Some((first, rest)) = buffer.split_first_mut() else { return Ok(0) };
        *first = self.wait(arch::uart_get)?;
        let mut read = 1;
        for place in rest {
            let Some(byte) = arch::uart_get() else { break };
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        for &byte in bytes {
            self.wait(|| arch::uart_put(byte).then_some(()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Broken> {
        // The last bytes leave by themselves.
        Ok(())
    }
}
