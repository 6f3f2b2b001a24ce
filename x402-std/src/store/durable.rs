//! Why a durable store cannot be opened.

use std::fmt;

use crate::exposed::Exposed;

/// Why a store could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The store could not be reached, refused the login, or gave an unexpected answer.
    Unavailable,
    /// The address is not a Redis URL, or it needs TLS, which this build lacks.
    Address,
    /// The file belongs to another application, or is not a store of this kind.
    Foreign,
    /// The file was written by a newer version of this library.
    Newer,
    /// Others can write or replace the file: see [`exposed`](crate::exposed).
    Exposed(Exposed),
    /// Redis may evict claims to make room: `maxmemory` is set, and `maxmemory-policy` is not `noeviction`.
    Evicts,
    /// The Redis server is a replica, but the primary keeps the claims.
    Replica,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exposed(exposed) => return exposed.fmt(f),
            Self::Unavailable => "store is unavailable",
            Self::Address => "not an address of a store that can be reached",
            Self::Foreign => "the file is not a store of this kind",
            Self::Newer => "store of a newer version",
            Self::Evicts => "this Redis evicts claims: set maxmemory-policy to noeviction",
            Self::Replica => "this Redis is a replica: give the primary",
        })
    }
}

impl std::error::Error for OpenError {}
