//! Why a durable store cannot be opened.

use std::fmt;

use crate::exposed::Exposed;

/// Why a store could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// It could not be reached, did not let us in, or did not answer as such a store does.
    Unavailable,
    /// The address is none that this build can reach: not a Redis URL, or one with TLS, without it.
    Address,
    /// The file belongs to another application, or is none of ours.
    Foreign,
    /// The file was written by a newer version of this library.
    Newer,
    /// Others can write the file, or put another in its place: see [`exposed`](crate::exposed).
    Exposed(Exposed),
    /// Redis may evict claims to make room: `maxmemory` is set, `maxmemory-policy` is not
    /// `noeviction`.
    Evicts,
    /// The Redis server is a replica: claims are kept by the primary.
    Replica,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exposed(exposed) => return exposed.fmt(f),
            Self::Unavailable => "store is unavailable",
            Self::Address => "not an address of a store that can be reached",
            Self::Foreign => "something else's file",
            Self::Newer => "store of a newer version",
            Self::Evicts => "this Redis evicts claims: set maxmemory-policy to noeviction",
            Self::Replica => "this Redis is a replica: give the primary",
        })
    }
}

impl std::error::Error for OpenError {}
