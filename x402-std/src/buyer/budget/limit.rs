use std::fmt;
use std::str::FromStr;

use x402_core::budget::{self, Key, MONEY_DECIMALS, Per, Spend};
use x402_core::{Amount, Money, Network};

use super::{HostError, Spent, host};
use crate::message::NetworkId;

/// A limit on the sum of payments: an amount, a time, and the payments that count.
///
/// Addresses and hosts are written as in offers and URLs: a limit that could never match is refused. A
/// [`host`] is the same host over http and https; there are no wildcards.
///
/// ```
/// use x402_std::buyer::budget::Limit;
/// for text in [
///     "$20",
///     "$0.05 per payment",
///     "$5 per day",
///     "$1 per day each host",
///     "$2 per day host api.example.com:8443",
///     "$1 each payee",
///     "2500000 of eip155:8453/0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913 per day payee 0x90F79bf6EB2c4f870365E785982E1f101E93b906",
/// ] {
///     assert_eq!(text.parse::<Limit>()?.to_string(), text);
/// }
/// # Ok::<(), x402_std::buyer::budget::LimitError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    /// The amount.
    pub most: Most,
    /// The time; for ever if the text has none.
    pub per: Per,
    /// The payments that count together; all if the text has none.
    pub scope: Scope,
}

/// The amount of a limit.
#[derive(Clone, Debug)]
pub enum Most {
    /// Money: every stablecoin counts as the money it stands for.
    Money(Money),
    /// Units of one token.
    Units {
        /// The number of units.
        amount: Amount,
        /// The token's network.
        network: NetworkId,
        /// The token's address.
        asset: String,
    },
}

/// The payments that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All payments.
    All,
    /// Payments to each host by itself: each name and port, so that `a.example.com` and `b.example.com` are
    /// two. The owner of a domain has any number of names: add a limit of [all](Scope::All).
    EachHost,
    /// Payments to one host, with its port unless that is 80 or 443, as [`host`] returns it.
    Host(String),
    /// Payments to each payee by itself.
    EachPayee,
    /// Payments to one payee.
    Payee(String),
}

/// Why a text is not a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitError {
    /// The form is wrong.
    Form,
    /// The host is not valid.
    Host(HostError),
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Host(error) = self {
            return write!(f, "not a limit: {error}");
        }
        f.write_str(
            "not a limit: write $AMOUNT or UNITS of NETWORK/TOKEN; then 'per payment', 'per day' or \
             nothing, which is for ever; then 'each host', 'host NAME[:PORT]', 'each payee', 'payee \
             ADDRESS' or nothing, which is all",
        )
    }
}

impl std::error::Error for LimitError {}

impl Limit {
    /// At most this much money for all payments in the time.
    pub const fn money(most: Money, per: Per) -> Self {
        Self { most: Most::Money(most), per, scope: Scope::All }
    }

    /// Returns the core's form.
    pub fn as_view(&self) -> budget::Limit<'_> {
        budget::Limit {
            most: match &self.most {
                Most::Money(money) => budget::Most::Money(*money),
                Most::Units { amount, network, asset } => {
                    budget::Most::Units { amount: *amount, network: network.as_view(), asset }
                }
            },
            per: self.per,
            scope: match &self.scope {
                Scope::All => budget::Scope::All,
                Scope::EachHost => budget::Scope::EachHost,
                Scope::Host(host) => budget::Scope::Host(host),
                Scope::EachPayee => budget::Scope::EachPayee,
                Scope::Payee(payee) => budget::Scope::Payee(payee),
            },
        }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let mut words = text.split_whitespace().peekable();
        let most = words.next().ok_or(LimitError::Form)?;
        let most = if words.next_if_eq(&"of").is_some() {
            let amount = Amount::parse(most).map_err(|_| LimitError::Form)?;
            let (network, asset) =
                words.next().and_then(|it| it.split_once('/')).ok_or(LimitError::Form)?;
            let network: NetworkId = network.parse().map_err(|_| LimitError::Form)?;
            if !is_token(network.as_view(), asset) {
                return Err(LimitError::Form);
            }
            Most::Units { amount, network, asset: asset.into() }
        } else {
            // Digits without $ may have been meant as units.
            let money = most.starts_with('$').then(|| Money::parse(most).ok()).flatten();
            Most::Money(money.ok_or(LimitError::Form)?)
        };
        let per = match words.next_if_eq(&"per") {
            None => Per::Ever,
            Some(_) => match words.next() {
                Some("payment") => Per::Payment,
                Some("day") => Per::Day,
                _ => return Err(LimitError::Form),
            },
        };
        let scope = match (words.next(), words.next()) {
            (None, _) => Scope::All,
            (Some("each"), Some("host")) => Scope::EachHost,
            (Some("each"), Some("payee")) => Scope::EachPayee,
            (Some("host"), Some(name)) => Scope::Host(host(name).map_err(LimitError::Host)?),
            (Some("payee"), Some(payee)) if is_address(payee) => Scope::Payee(payee.into()),
            _ => return Err(LimitError::Form),
        };
        if words.next().is_some() {
            return Err(LimitError::Form);
        }
        Ok(Self { most, per, scope })
    }
}

fn is_address(text: &str) -> bool {
    x402_evm::Address::parse(text).is_some() || x402_svm::Address::parse(text).is_some()
}

fn is_token(network: Network<'_>, asset: &str) -> bool {
    match network.solana() {
        Some(_) => x402_svm::Address::parse(asset).is_some(),
        None => network.eip155().is_some() && x402_evm::Address::parse(asset).is_some(),
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.most {
            Most::Money(money) => money.fmt(f)?,
            Most::Units { amount, network, asset } => write!(f, "{amount} of {network}/{asset}")?,
        }
        f.write_str(match self.per {
            Per::Payment => " per payment",
            Per::Day => " per day",
            Per::Ever => "",
        })?;
        match &self.scope {
            Scope::All => Ok(()),
            Scope::EachHost => f.write_str(" each host"),
            Scope::Host(host) => write!(f, " host {host}"),
            Scope::EachPayee => f.write_str(" each payee"),
            Scope::Payee(payee) => write!(f, " payee {payee}"),
        }
    }
}

/// The use of a limit.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The limit.
    pub limit: Limit,
    /// The host or the payee, for a limit on each.
    pub of: Option<String>,
    /// The sum that was spent.
    pub spent: Amount,
    /// The sum that is left.
    pub left: Amount,
    /// Decimals of both: [`MONEY_DECIMALS`] if the limit is in money, 0 (units) if it is in a token's
    /// units.
    pub decimals: u8,
}

/// Returns the use of every limit at `now`. A limit for each host or payee has an entry for each that was
/// paid. A sum that is too large to count is returned as the limit.
pub fn usage(limits: &[Limit], spends: &[Spent], now: u64) -> Vec<Usage> {
    limits.iter().flat_map(|limit| used(limit, spends, now)).collect()
}

fn used(limit: &Limit, spends: &[Spent], now: u64) -> Vec<Usage> {
    let (most, decimals) = match &limit.most {
        Most::Money(money) => {
            (money.to_units(MONEY_DECIMALS).unwrap_or(Amount::MAX), MONEY_DECIMALS)
        }
        Most::Units { amount, .. } => (*amount, 0),
    };
    let of = |of: Option<String>, like: &Spend| {
        let spent = limit.as_view().spent(spends.iter().map(|it| it.spend), like, now);
        let spent = spent.unwrap_or(most);
        let left = most.checked_sub(spent).unwrap_or_default();
        Usage { limit: limit.clone(), of, spent, left, decimals }
    };
    let name = |spent: &Spent| match limit.scope {
        Scope::EachHost => Some(spent.host.to_ascii_lowercase()),
        Scope::EachPayee => Some(spent.pay_to.clone()),
        Scope::All | Scope::Host(_) | Scope::Payee(_) => None,
    };
    let mut all: Vec<(Option<String>, &Spend)> = Vec::new();
    for spent in spends {
        let name = name(spent);
        if name.is_some() && !all.iter().any(|(known, _)| *known == name) {
            all.push((name, &spent.spend));
        }
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    if all.is_empty() {
        let none = Spend {
            at: now,
            host: Key(0),
            payee: Key(0),
            asset: Key(0),
            decimals: 0,
            amount: Amount::ZERO,
        };
        return vec![of(None, &none)];
    }
    all.into_iter().map(|(name, like)| of(name, like)).collect()
}
