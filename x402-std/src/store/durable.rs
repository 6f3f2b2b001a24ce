//! The parts that durable stores share: claim states as text, and how long to keep them.

use std::fmt;

use x402_core::Reason;
use x402_core::claim::{ClaimState, Transaction};

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

pub(super) const CLAIMED: &str = "claimed";

/// A state as text: its name, and for all but the first a colon and the transaction or the code.
pub(super) fn encode(state: &ClaimState) -> String {
    match state {
        ClaimState::Claimed => CLAIMED.into(),
        ClaimState::Broadcast(transaction) => format!("broadcast:{transaction}"),
        ClaimState::Settled(transaction) => format!("settled:{transaction}"),
        ClaimState::Delivered(transaction) => format!("delivered:{transaction}"),
        ClaimState::Failed(Reason::Own(own)) => format!("failed:own {own}"),
        ClaimState::Failed(reason) => format!("failed:{reason}"),
    }
}

/// The state a text says; `None` if it says none.
pub(super) fn decode(text: &str) -> Option<ClaimState> {
    if text == CLAIMED {
        return Some(ClaimState::Claimed);
    }
    let (name, rest) = text.split_once(':')?;
    match name {
        "broadcast" => Transaction::try_from(rest).ok().map(ClaimState::Broadcast),
        "settled" => Transaction::try_from(rest).ok().map(ClaimState::Settled),
        "delivered" => Transaction::try_from(rest).ok().map(ClaimState::Delivered),
        "failed" => {
            let own = rest.strip_prefix("own ").and_then(|own| own.parse().ok()).map(Reason::Own);
            let reason = own.or_else(|| Reason::parse(rest).filter(|it| it.as_str() == rest))?;
            Some(ClaimState::Failed(reason))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transactions() -> [Transaction; 4] {
        ["", "0x1", "a:b claimed", &"z".repeat(88)].map(|text| text.try_into().unwrap())
    }

    #[test]
    fn every_state_reads_back() {
        let own = [0, 7, 255].map(Reason::Own);
        let failed = Reason::ALL.iter().copied().chain(own).map(ClaimState::Failed);
        let sent = transactions().into_iter().map(ClaimState::Broadcast);
        let settled = transactions().into_iter().map(ClaimState::Settled);
        let delivered = transactions().into_iter().map(ClaimState::Delivered);
        let states: Vec<_> = [ClaimState::Claimed].into_iter().chain(failed).chain(sent).collect();
        for state in states.into_iter().chain(settled).chain(delivered) {
            assert_eq!(decode(&encode(&state)), Some(state));
        }
    }

    #[test]
    fn what_is_no_state_is_none() {
        let long = format!("settled:{}", "z".repeat(89));
        for text in [
            "",
            "Claimed",
            "claimed:",
            "claimed ",
            "broadcast",
            "settled",
            "delivered",
            "failed",
            "failed:",
            "failed:no_such_code",
            "failed:own_reason",
            "failed:own 256",
            "failed:own x",
            "failed:busy: with a word",
            "failed:busy ",
            "lost:0x1",
            &long,
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
