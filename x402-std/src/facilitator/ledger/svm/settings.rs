//! The settings of a ledger on Solana, and the reasons for which it is not ready.

use std::fmt;
use std::time::Duration;

use x402_svm::Address;

use crate::message::NetworkId;

/// The certainty that a transaction needs to count as made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Commitment {
    /// Two thirds of the stake have voted for it, after about a second. To undo it, a third would have to
    /// vote against its own votes.
    #[default]
    Confirmed,
    /// It cannot be undone, after about 13 seconds.
    Finalized,
}

impl Commitment {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Finalized => "finalized",
        }
    }

    pub(super) fn is_reached(self, status: &str) -> bool {
        status == "finalized" || status == self.as_str()
    }
}

/// An operator's settings of a [`SvmLedger`](super::SvmLedger).
#[derive(Clone, Copy, Debug)]
pub struct SvmSettings {
    /// The certainty at which a transaction counts as made. A failed one counts only at
    /// [`Commitment::Finalized`].
    pub commitment: Commitment,
    /// Longest wait of [`confirm`](crate::facilitator::ledger::Ledger::confirm) for certainty.
    pub confirm_within: Duration,
    /// Time after which a transaction is sent again while it is unconfirmed.
    pub resend_every: Duration,
    /// Number of nodes that must agree before a payment is settled or failed: at least 1, at most all of the
    /// network's.
    pub witnesses: usize,
    /// Least lamports of the fee payer. Below it, payments are [`Reason::Busy`](x402_core::Reason::Busy).
    pub least_lamports: u64,
    /// Most lamports that a payment may take from the fee payer, as the simulation shows them.
    pub most_fee: u64,
}

impl Default for SvmSettings {
    /// Returns the defaults: `confirmed`, within a minute, sent again every two seconds, one witness. The fee
    /// payer keeps 10 000 000 lamports (0.01 SOL) and spends at most 110 000 on a payment, as
    /// [`Limits::default`](x402_svm::Limits) allows.
    fn default() -> Self {
        Self {
            commitment: Commitment::Confirmed,
            confirm_within: Duration::from_secs(60),
            resend_every: Duration::from_secs(2),
            witnesses: 1,
            least_lamports: 10_000_000,
            most_fee: 110_000,
        }
    }
}

/// The network is none of Solana's, by its CAIP-2 id or its name in version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSolana;

impl fmt::Display for NotSolana {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a Solana network")
    }
}

impl std::error::Error for NotSolana {}

/// The reason why a [`SvmLedger`](super::SvmLedger) is not ready to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SvmNotReady {
    /// There is no network.
    NoNetwork,
    /// A node for this network belongs to another one.
    WrongNetwork(NetworkId),
    /// Too few of this network's nodes answer.
    Unreachable(NetworkId),
    /// The fee payer has fewer lamports than it must keep.
    NoLamports {
        /// The network.
        network: NetworkId,
        /// The fee payer.
        fee_payer: Address,
    },
    /// The network makes no blocks, or its nodes do not see them.
    StandsStill {
        /// The network.
        network: NetworkId,
        /// The age of the newest block, in seconds.
        seconds: u64,
    },
}

impl fmt::Display for SvmNotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNetwork => f.write_str("no network"),
            Self::WrongNetwork(id) => write!(f, "a node for {id} is one of another network"),
            Self::Unreachable(id) => write!(f, "too few nodes of {id} answer"),
            Self::NoLamports { network, fee_payer } => {
                write!(f, "{fee_payer} is short of lamports on {network}: send it SOL")
            }
            Self::StandsStill { network, seconds } => {
                write!(f, "the newest block of {network} is {seconds} seconds old")
            }
        }
    }
}

impl std::error::Error for SvmNotReady {}
