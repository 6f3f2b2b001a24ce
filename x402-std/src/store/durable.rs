//! What stores that outlive their processes share: claim states as text, and how long to keep them.

use std::fmt;

use x402_core::Reason;
use x402_core::claim::{ClaimState, Transaction};

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
    /// Redis may evict claims to make room: `maxmemory` is set, `maxmemory-policy` is not
    /// `noeviction`.
    Evicts,
    /// The Redis server is a replica: claims are kept by the primary.
    Replica,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "claim store is unavailable",
            Self::Address => "not an address of a claim store that can be reached",
            Self::Foreign => "not a claim store, but something else's file",
            Self::Newer => "claim store of a newer version",
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
        "failed" => {
            let reason = Reason::parse(rest).filter(|reason| reason.as_str() == rest)?;
            Some(ClaimState::Failed(reason))
        }
        _ => None,
    }
}

/// The last second at which a claim is not to be forgotten, `None` if it always may be: what
/// [`ClaimState::is_forgettable`] says, as a number that a store can compare.
pub(super) fn kept_until(state: &ClaimState, expires_at: u64) -> Option<u64> {
    let kept = |second| !state.is_forgettable(expires_at, second);
    if !kept(0) {
        return None;
    }
    if kept(u64::MAX) {
        return Some(u64::MAX);
    }
    // What may be forgotten once may be forgotten ever after.
    let (mut last, mut gone) = (0, u64::MAX);
    while gone - last > 1 {
        let middle = last + (gone - last) / 2;
        if kept(middle) {
            last = middle;
        } else {
            gone = middle;
        }
    }
    Some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transactions() -> [Transaction; 4] {
        ["", "0x1", "a:b claimed", &"z".repeat(88)].map(|text| text.try_into().unwrap())
    }

    #[test]
    fn every_state_reads_back() {
        let failed = Reason::ALL.iter().copied().map(ClaimState::Failed);
        let sent = transactions().into_iter().map(ClaimState::Broadcast);
        let settled = transactions().into_iter().map(ClaimState::Settled);
        let states: Vec<_> = [ClaimState::Claimed].into_iter().chain(failed).chain(sent).collect();
        for state in states.into_iter().chain(settled) {
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
            "failed",
            "failed:",
            "failed:no_such_code",
            "failed:busy: with a word",
            "failed:busy ",
            "lost:0x1",
            &long,
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn kept_as_long_as_is_forgettable_says() {
        let states = [
            ClaimState::Claimed,
            ClaimState::Broadcast(Transaction::new()),
            ClaimState::Settled(Transaction::new()),
        ];
        for state in states {
            for expires_at in [0, 1, 1_700_000_000, u64::MAX / 2, u64::MAX - 86_400, u64::MAX] {
                let last = kept_until(&state, expires_at).unwrap();
                assert!(!state.is_forgettable(expires_at, last), "{state:?} {expires_at}");
                let next = last.saturating_add(1);
                assert_eq!(state.is_forgettable(expires_at, next), last != u64::MAX);
            }
        }
        let failed = ClaimState::Failed(Reason::Busy);
        assert_eq!(kept_until(&failed, u64::MAX), None);
    }
}
