//! The time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of time. It must be right to a few seconds, because payments are valid between two seconds of it.
pub trait Clock: Send + Sync {
    /// Seconds since 1970-01-01 UTC.
    fn now(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Returns 0 before 1970, when no payment is valid yet.
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}

/// A fixed time, for tests and for checking recorded payments.
impl Clock for u64 {
    fn now(&self) -> u64 {
        *self
    }
}

/// A time that the caller moves, for tests.
impl Clock for Arc<AtomicU64> {
    fn now(&self) -> u64 {
        self.load(Ordering::SeqCst)
    }
}
