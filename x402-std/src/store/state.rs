//! Claim states as text.

use x402_core::Reason;
use x402_core::claim::{ClaimState, Transaction};

pub(super) const CLAIMED: &str = "claimed";

/// Returns a claim's state as text, as the durable stores keep it. It is the state's name; for all states but
/// `claimed`, a colon and the transaction or the reason follow.
pub fn encode_state(state: &ClaimState) -> String {
    match state {
        ClaimState::Claimed => CLAIMED.into(),
        ClaimState::Broadcast(transaction) => format!("broadcast:{transaction}"),
        ClaimState::Settled(transaction) => format!("settled:{transaction}"),
        ClaimState::Delivered(transaction) => format!("delivered:{transaction}"),
        ClaimState::Failed(Reason::Own(own)) => format!("failed:own {own}"),
        ClaimState::Failed(reason) => format!("failed:{reason}"),
    }
}

/// Reads a text of [`encode_state`]; returns `None` for any other.
pub fn decode_state(text: &str) -> Option<ClaimState> {
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
            assert_eq!(decode_state(&encode_state(&state)), Some(state));
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
            assert_eq!(decode_state(text), None, "{text}");
        }
    }
}
