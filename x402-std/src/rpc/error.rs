//! The errors of nodes.

use std::fmt;

use serde_json::value::RawValue;

/// A node's URL is neither `https` nor `http` to this machine, or is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcUrlError;

impl fmt::Display for RpcUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RPC URL is neither https nor this machine's: give an https URL")
    }
}

impl std::error::Error for RpcUrlError {}

/// Why there is no result.
#[derive(Clone)]
#[non_exhaustive]
pub enum RpcError {
    /// The node could not be reached, or broke off.
    Unreachable,
    /// The node took too long.
    TimedOut,
    /// The node answered with this HTTP status; 429 means too many requests.
    Status(u16),
    /// The answer is longer than 4 MiB, not JSON-RPC, or for another request.
    BadAnswer,
    /// The node's answer is an error. Its text and data may repeat secrets: `Debug` and `Display` show the
    /// code alone.
    Refused {
        /// The error code, of JSON-RPC or of the chain.
        code: i64,
        /// The node's text.
        message: String,
        /// The rest of the answer.
        data: Option<Box<RawValue>>,
    },
}

impl RpcError {
    /// Whether this is an answer, which other nodes would give too.
    ///
    /// It is none if the node gets too many requests (429 and -32029 of several services, -32005 of
    /// EIP-1474). It is none either if the node lags (-32005 and -32016 of Solana's nodes).
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if !matches!(code, 429 | -32005 | -32016 | -32029))
    }

    /// Whether a later attempt may succeed.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => *status == 429 || *status >= 500,
            error => !error.is_answer(),
        }
    }

    /// The rank of an error: of several, the highest one is returned.
    pub(super) const fn telling(&self) -> u8 {
        match self {
            Self::Refused { .. } if self.is_answer() => 5,
            Self::Refused { .. } => 4,
            Self::Status(_) => 3,
            Self::BadAnswer => 2,
            Self::TimedOut => 1,
            Self::Unreachable => 0,
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("RPC node cannot be reached: check its URL"),
            Self::TimedOut => f.write_str("RPC node timed out"),
            Self::Status(status) => write!(f, "RPC node answered with status {status}"),
            Self::BadAnswer => f.write_str("RPC node's answer cannot be read: check its URL"),
            Self::Refused { code, .. } => write!(f, "RPC node answered with error {code}"),
        }
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RpcError {}

pub(super) fn more_telling(one: RpcError, other: RpcError) -> RpcError {
    if other.telling() > one.telling() { other } else { one }
}
