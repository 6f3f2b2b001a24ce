//! Limits on the sum of many payments, in money or in units of a token. They hold for each payment,
//! for a rolling day, or for ever; for each host or payee, for one, or for all.
//!
//! A payment counts from its [reservation](Spending::reserve) on, which comes before its signature.
//! Only a payment that was never signed may be [released](Spending::release): a signed payment can
//! still be settled, whatever was answered.
//!
//! ```
//! use x402_core::budget::{Exceeded, Key, Limit, Most, Per, Scope, Spend, Spending};
//! use x402_core::{Amount, Money, Network};
//!
//! let a_cent_a_day = Limit {
//!     most: Most::Money(Money::parse("$0.01")?),
//!     per: Per::Day,
//!     scope: Scope::EachHost,
//! };
//! let spend = |at, host| Spend {
//!     at,
//!     host: Key::host(host),
//!     payee: Key::address("0x90F79bf6EB2c4f870365E785982E1f101E93b906"),
//!     asset: Key::asset(Network::parse("eip155:8453").unwrap(), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"),
//!     decimals: 6,
//!     amount: Amount::from(10_000),
//! };
//! let mut spending = Spending::<16>::new();
//! let limits = [a_cent_a_day];
//! spending.reserve(&limits, spend(0, "api.example.com"))?;
//! spending.reserve(&limits, spend(1, "other.example.com"))?;
//! assert_eq!(spending.reserve(&limits, spend(86_399, "api.example.com")), Err(Exceeded::Limit(0)));
//! spending.reserve(&limits, spend(86_400, "api.example.com"))?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use core::fmt;

use crate::amount::{Amount, Money};
use crate::network::Network;

/// Seconds of a rolling day.
pub const DAY: u64 = 86_400;

/// Decimals in which payments in different tokens are added up: as many as a [`Money`] can have.
pub const MONEY_DECIMALS: u8 = 18;

/// The most that may be paid, within a scope and a time.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'p> {
    /// The sum.
    pub most: Most<'p>,
    /// The time it counts over.
    pub per: Per,
    /// The payments it counts together.
    pub scope: Scope<'p>,
}

/// The sum a limit allows.
#[derive(Clone, Copy, Debug)]
pub enum Most<'p> {
    /// Money: every stablecoin as the money it stands for. A token with more than
    /// [`MONEY_DECIMALS`] decimals fits no such limit.
    Money(Money),
    /// Units of one token; the limit ignores others.
    Units {
        /// The number of units.
        amount: Amount,
        /// The token's network.
        network: Network<'p>,
        /// The token's address.
        asset: &'p str,
    },
}

/// The time a limit counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Per {
    /// One payment.
    Payment,
    /// Any [`DAY`].
    Day,
    /// All time that is remembered.
    Ever,
}

/// The payments a limit counts together.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'p> {
    /// All.
    All,
    /// Those to each host by itself: each name and port. A domain's owner can have any number of
    /// names, so set a limit of all beside it.
    EachHost,
    /// Those to one host.
    Host(&'p str),
    /// Those to each payee by itself.
    EachPayee,
    /// Those to one payee.
    Payee(&'p str),
}

/// A number that stands for a host, payee or token. Two of one key are counted together, so a forged
/// collision makes limits tighter, never wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Key(pub u64);

impl Key {
    /// Returns the key of a host, in any letter case, with a final dot or without. The ports 80 and
    /// 443 count as no port, since the default port of a URL's scheme is never seen.
    pub fn host(host: &str) -> Self {
        Self::of(host_bytes(host))
    }

    /// Returns the key of an address; with `0x`, in any letter case.
    pub fn address(address: &str) -> Self {
        let hexadecimal = matches!(address.as_bytes(), [b'0', b'x' | b'X', ..]);
        Self::of(address.bytes().map(
            |byte| {
                if hexadecimal { byte.to_ascii_lowercase() } else { byte }
            },
        ))
    }

    /// Returns the key of a token, by its network in either version's spelling and its address.
    pub fn asset(network: Network<'_>, address: &str) -> Self {
        let network = network.caip2().unwrap_or(network).as_str();
        let Self(address) = Self::address(address);
        Self::of(network.bytes().chain(address.to_be_bytes()))
    }

    /// FNV-1a of 64 bits.
    fn of(bytes: impl Iterator<Item = u8>) -> Self {
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

/// Returns the bytes by which a host is known.
fn host_bytes(host: &str) -> impl Iterator<Item = u8> {
    // Not `rsplit_once`: the optimiser cannot prove that its search never panics.
    let before = host.trim_end_matches(|c: char| c.is_ascii_digit());
    let (name, port) = match (before.strip_suffix(':'), host.get(before.len()..)) {
        (Some(name), Some(port)) => (name, port),
        _ => (host, ""),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let (colon, port) = match port {
        "" | "80" | "443" => ("", ""),
        port => (":", port),
    };
    name.bytes().chain(colon.bytes()).chain(port.bytes()).map(|byte| byte.to_ascii_lowercase())
}

/// A payment as limits see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// When it was reserved, in seconds of a clock that only goes forward: Unix time, or the time
    /// since power-on where that is unknown. A seller's time must not be used.
    pub at: u64,
    /// The host that was asked.
    pub host: Key,
    /// The payee.
    pub payee: Key,
    /// The token.
    pub asset: Key,
    /// The token's decimals.
    pub decimals: u8,
    /// The amount, in the token's units.
    pub amount: Amount,
}

impl Spend {
    /// Returns whether it is less than a [`DAY`] old. A payment of the future is, too: a clock that
    /// was set back widens no limit.
    pub const fn is_recent(&self, now: u64) -> bool {
        self.at.saturating_add(DAY) > now
    }

    /// Returns whether two are to the same host and payee, in the same token.
    pub fn is_alike(&self, other: &Self) -> bool {
        (self.host, self.payee, self.asset, self.decimals)
            == (other.host, other.payee, other.asset, other.decimals)
    }
}

/// The limit that is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Exceeded {
    /// The limit at this place in the list.
    Limit(usize),
    /// The memory: nothing more can be counted.
    Full,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(index) => write!(f, "over limit {index}"),
            Self::Full => f.write_str("no room to remember another payment"),
        }
    }
}

impl core::error::Error for Exceeded {}

impl Limit<'_> {
    /// Returns whether the limit counts a payment.
    pub fn applies(&self, spend: &Spend) -> bool {
        let token = match self.most {
            Most::Money(_) => true,
            Most::Units { network, asset, .. } => Key::asset(network, asset) == spend.asset,
        };
        token
            && match self.scope {
                Scope::All | Scope::EachHost | Scope::EachPayee => true,
                Scope::Host(host) => Key::host(host) == spend.host,
                Scope::Payee(payee) => Key::address(payee) == spend.payee,
            }
    }

    /// Returns the sum spent so far of the limit that `next` falls under. It is in units of the
    /// token or, if the limit is in money, with [`MONEY_DECIMALS`] decimals. `None` is more than
    /// can be counted.
    pub fn spent(
        &self,
        spends: impl Iterator<Item = Spend>,
        next: &Spend,
        now: u64,
    ) -> Option<Amount> {
        let together = |spend: &Spend| {
            let in_time = match self.per {
                Per::Payment => false,
                Per::Day => spend.is_recent(now),
                Per::Ever => true,
            };
            let same = match self.scope {
                Scope::EachHost => spend.host == next.host,
                Scope::EachPayee => spend.payee == next.payee,
                Scope::All | Scope::Host(_) | Scope::Payee(_) => true,
            };
            in_time && same && self.applies(spend)
        };
        spends
            .filter(together)
            .try_fold(Amount::ZERO, |sum, spend| sum.checked_add(self.cost(&spend)?))
    }

    /// Returns the sum a payment counts for.
    fn cost(&self, spend: &Spend) -> Option<Amount> {
        match self.most {
            Most::Money(_) => spend.amount.with_zeros(MONEY_DECIMALS.checked_sub(spend.decimals)?),
            Most::Units { .. } => Some(spend.amount),
        }
    }

    fn covers(&self, sum: Amount) -> bool {
        match self.most {
            Most::Money(money) => money.covers(sum, MONEY_DECIMALS),
            Most::Units { amount, .. } => sum <= amount,
        }
    }

    fn admits(&self, spends: impl Iterator<Item = Spend>, next: &Spend) -> bool {
        if !self.applies(next) {
            return true;
        }
        let spent = self.spent(spends, next, next.at);
        let sum = spent.and_then(|spent| spent.checked_add(self.cost(next)?));
        sum.is_some_and(|sum| self.covers(sum))
    }
}

/// Checks that `next` fits within all limits, after `spends`.
///
/// # Errors
/// [`Exceeded::Limit`] with the first limit it exceeds.
pub fn admit(
    limits: &[Limit<'_>],
    spends: impl Iterator<Item = Spend> + Clone,
    next: &Spend,
) -> Result<(), Exceeded> {
    match limits.iter().position(|limit| !limit.admits(spends.clone(), next)) {
        Some(index) => Err(Exceeded::Limit(index)),
        None => Ok(()),
    }
}

/// Room for `N` payments, of 72 bytes each.
///
/// When it is full, payments of more than a day ago are added up. If that makes no room and there is
/// no limit for ever, they are forgotten. Only then can a clock that was ahead widen a limit.
///
/// Younger payments to the same host and payee in the same token are added up with those near them
/// (within four days divided by `N`). They count until the last of them is a day old: for somewhat
/// longer than they must, never shorter.
///
/// To keep the sums over a loss of power, write [`Spending::iter`] down before a payment is sent, and
/// [`Spending::restore`] it.
#[derive(Clone, Debug, Default)]
pub struct Spending<const N: usize> {
    spends: heapless::Vec<Spend, N>,
}

impl<const N: usize> Spending<N> {
    /// Returns an empty table.
    pub const fn new() -> Self {
        Self { spends: heapless::Vec::new() }
    }

    /// Counts a payment that is about to be signed, if it fits.
    ///
    /// # Errors
    /// [`Exceeded`], and nothing is counted.
    pub fn reserve(&mut self, limits: &[Limit<'_>], next: Spend) -> Result<(), Exceeded> {
        admit(limits, self.iter(), &next)?;
        if self.spends.is_full() {
            self.forget(limits, next.at);
        }
        self.restore(next)
    }

    /// Counts an earlier payment, even beyond the limits.
    ///
    /// # Errors
    /// [`Exceeded::Full`].
    pub fn restore(&mut self, spend: Spend) -> Result<(), Exceeded> {
        self.spends.push(spend).map_err(|_| Exceeded::Full)
    }

    /// Removes the reservation of a payment that was not signed.
    pub fn release(&mut self, spend: &Spend) {
        let mut found = false;
        self.spends.retain(|known| {
            let keep = found || known != spend;
            found |= !keep;
            keep
        });
    }

    /// Returns the payments that count.
    pub fn iter(&self) -> impl Iterator<Item = Spend> + Clone {
        self.spends.iter().copied()
    }

    fn forget(&mut self, limits: &[Limit<'_>], now: u64) {
        let near = |one: &Spend, other: &Spend| match (one.is_recent(now), other.is_recent(now)) {
            (true, true) => Self::slot(one) == Self::slot(other),
            (one, other) => one == other,
        };
        // In place: the stack is dearer than the table.
        let mut kept = 0usize;
        for index in 0..self.spends.len() {
            let Some(spend) = self.spends.get(index).copied() else { break };
            let before = self.spends.get_mut(..kept).unwrap_or_default();
            let like = |known: &&mut Spend| known.is_alike(&spend) && near(known, &spend);
            if let Some(known) = before.iter_mut().find(like)
                && let Some(sum) = known.amount.checked_add(spend.amount)
            {
                known.amount = sum;
                known.at = known.at.max(spend.at);
            } else if let Some(place) = self.spends.get_mut(kept) {
                *place = spend;
                kept = kept.saturating_add(1);
            }
        }
        self.spends.truncate(kept);
        if self.spends.is_full() && !limits.iter().any(|limit| limit.per == Per::Ever) {
            self.spends.retain(|spend| spend.is_recent(now));
        }
    }

    /// Returns the part of a day: a day has a quarter as many parts as there is room for payments.
    fn slot(spend: &Spend) -> Option<u64> {
        let slots = u64::try_from(N / 4).ok().filter(|slots| *slots > 0)?;
        spend.at.checked_div(DAY.checked_div(slots)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USDC: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
    const BASE: &str = "eip155:8453";

    fn network(text: &str) -> Network<'_> {
        Network::parse(text).unwrap()
    }

    fn spend(at: u64, host: &str, payee: &str, units: u64) -> Spend {
        Spend {
            at,
            host: Key::host(host),
            payee: Key::address(payee),
            asset: Key::asset(network(BASE), USDC),
            decimals: 6,
            amount: Amount::from(units),
        }
    }

    fn money(text: &str, per: Per, scope: Scope<'static>) -> Limit<'static> {
        Limit { most: Most::Money(Money::parse(text).unwrap()), per, scope }
    }

    fn units(amount: u64, asset: &'static str, per: Per, scope: Scope<'static>) -> Limit<'static> {
        let most = Most::Units { amount: Amount::from(amount), network: network("base"), asset };
        Limit { most, per, scope }
    }

    #[test]
    fn a_clock_that_was_ahead_makes_no_room() {
        let limits = [money("$0.000100", Per::Day, Scope::All)];
        let mut table = Spending::<4>::new();
        for at in 0..4 {
            table.reserve(&limits, spend(at, "a", "0xA", 20)).unwrap();
        }
        // The table is full, and all in it is old to a clock that is two days ahead.
        table.reserve(&limits, spend(2 * DAY, "b", "0xA", 10)).unwrap();
        // After the clock is set right, the sums still count.
        let refused = table.reserve(&limits, spend(5, "a", "0xA", 20));
        assert_eq!(refused, Err(Exceeded::Limit(0)));
        table.reserve(&limits, spend(6, "a", "0xA", 10)).unwrap();
    }

    #[test]
    fn a_host_is_one_in_every_spelling() {
        for (one, other, same) in [
            ("Example.COM", "example.com.", true),
            ("example.com:80", "example.com", true),
            ("example.com.:443", "example.com:80", true),
            ("example.com.:8443", "EXAMPLE.com:8443", true),
            ("[::1]:80", "[::1]", true),
            ("[::1]", "[::2]", false),
            ("example.com:8080", "example.com", false),
            ("example.com", "example.org", false),
            ("example.com:81", "example.com8:1", false),
        ] {
            assert_eq!(Key::host(one) == Key::host(other), same, "{one} {other}");
        }
    }

    #[test]
    fn every_limit_to_the_unit() {
        use Per::{Day, Ever, Payment};
        use Scope::{All, EachHost, EachPayee, Host, Payee};
        // Spent at 0: 60 units to a/0xA, 30 to b/0xA, 10 to a/0xB.
        let spent = [spend(0, "a", "0xA", 60), spend(0, "b", "0xA", 30), spend(0, "a", "0xB", 10)];
        let other = "0x0000000000000000000000000000000000000001";
        // A limit; the next payee and time; the most that fits.
        type Case<'a> = (Limit<'a>, (u64, &'a str, &'a str), Option<u64>);
        let cases: &[Case<'_>] = &[
            (money("$0.0002", Payment, All), (1, "a", "0xA"), Some(200)),
            (money("$0.0002", Day, All), (1, "c", "0xC"), Some(100)),
            (money("$0.0002", Day, All), (DAY - 1, "c", "0xC"), Some(100)),
            (money("$0.0002", Day, All), (DAY, "c", "0xC"), Some(200)),
            (money("$0.0002", Ever, All), (DAY, "c", "0xC"), Some(100)),
            (money("$0.0002", Day, EachHost), (1, "A", "0xC"), Some(130)),
            (money("$0.0002", Day, EachHost), (1, "c", "0xA"), Some(200)),
            (money("$0.0002", Day, Host("A")), (1, "a", "0xC"), Some(130)),
            (money("$0.0002", Day, Host("a")), (1, "b", "0xC"), None),
            (money("$0.0002", Day, EachPayee), (1, "c", "0xa"), Some(110)),
            (money("$0.0002", Day, Payee("0xa")), (1, "c", "0xA"), Some(110)),
            (money("$0.0002", Day, Payee("0xA")), (1, "c", "0xB"), None),
            (units(150, USDC, Payment, All), (1, "a", "0xA"), Some(150)),
            (units(150, USDC, Day, All), (1, "a", "0xA"), Some(50)),
            (units(150, USDC, Ever, EachHost), (DAY, "a", "0xA"), Some(80)),
            (units(150, other, Day, All), (1, "a", "0xA"), None),
            (money("$0", Ever, Host("z")), (1, "z", "0xA"), Some(0)),
        ];
        for (index, (limit, (at, host, payee), most)) in cases.iter().enumerate() {
            let fits = |amount| {
                let next = Spend { amount, ..spend(*at, host, payee, 0) };
                admit(&[*limit], spent.iter().copied(), &next).is_ok()
            };
            match most {
                Some(most) => {
                    assert!(fits(Amount::from(*most)), "{index}: {limit:?}");
                    assert!(!fits(Amount::from(most + 1)), "{index}: {limit:?}");
                    assert!(!fits(Amount::MAX), "{index}: {limit:?}");
                }
                None => assert!(fits(Amount::MAX), "{index}: {limit:?}"),
            }
        }
        let limits = [money("$1", Payment, All), money("$0.0001", Day, All)];
        let next = spend(1, "c", "0xC", 1);
        assert_eq!(admit(&limits, spent.iter().copied(), &next), Err(Exceeded::Limit(1)));
        assert_eq!(admit(&[], spent.iter().copied(), &next), Ok(()));
    }

    #[test]
    fn tokens_of_other_decimals_are_one_money() {
        let limits = [money("$2", Per::Day, Scope::All)];
        let six = spend(0, "a", "0xA", 1_000_000);
        let eighteen = |amount: &str| Spend {
            decimals: 18,
            amount: Amount::parse(amount).unwrap(),
            asset: Key(1),
            ..six
        };
        let fits = |next: Spend| admit(&limits, [six].into_iter(), &next).is_ok();
        assert!(fits(eighteen("1000000000000000000")));
        assert!(!fits(eighteen("1000000000000000001")));
        assert!(!fits(Spend { decimals: 19, amount: Amount::ZERO, ..six }));
        // One such payment exceeds all counting.
        let odd = Spend { decimals: 19, ..six };
        assert!(admit(&limits, [odd].into_iter(), &Spend { amount: Amount::ZERO, ..six }).is_err());
    }

    #[test]
    fn keys_see_through_spelling() {
        assert_eq!(Key::host("API.example.com:8080"), Key::host("api.example.COM:8080"));
        assert_eq!(Key::address(USDC), Key::address(&USDC.to_lowercase()));
        assert_eq!(Key::address("0Xaa"), Key::address("0xAA"));
        assert_ne!(Key::address("So1"), Key::address("so1"));
        assert_eq!(Key::asset(network("base"), USDC), Key::asset(network(BASE), USDC));
        assert_ne!(Key::asset(network("sei"), USDC), Key::asset(network(BASE), USDC));
    }

    #[test]
    fn room_is_made_of_what_no_limit_needs() {
        let day = [money("$1", Per::Day, Scope::All)];
        let ever = [money("$0.00001", Per::Ever, Scope::EachHost)];
        let mut spending = Spending::<3>::new();
        for at in 0..3 {
            spending.reserve(&ever, spend(at, "a", "0xA", 2)).unwrap();
        }
        spending.release(&spend(1, "a", "0xA", 2));
        assert_eq!(spending.iter().count(), 2);
        spending.release(&spend(1, "a", "0xA", 2));
        assert_eq!(spending.iter().count(), 2);
        spending.reserve(&ever, spend(3, "b", "0xA", 2)).unwrap();
        // Later those to one host are added up, and nothing is lost.
        assert_eq!(spending.reserve(&ever, spend(DAY + 9, "a", "0xA", 7)), Err(Exceeded::Limit(0)));
        spending.reserve(&ever, spend(DAY + 9, "a", "0xA", 6)).unwrap();
        assert_eq!(spending.iter().count(), 3);
        assert_eq!(spending.reserve(&ever, spend(DAY + 9, "a", "0xA", 1)), Err(Exceeded::Limit(0)));
        // Without a limit for ever, they are forgotten.
        spending.reserve(&day, spend(DAY + 10, "c", "0xA", 1)).unwrap();
        assert_eq!(spending.iter().count(), 2);
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes; the other tests run the same code")]
    fn a_small_table_holds_a_busy_day() {
        let limits = [money("$0.000100", Per::Day, Scope::All)];
        let mut spending = Spending::<8>::new();
        let mut exact = heapless::Vec::<Spend, 512>::new();
        let (mut refused, mut late) = (0, 0);
        // Every 20 minutes for five days, up to 72 a day.
        for number in 0..360u64 {
            let next =
                spend(number * 1200, ["a", "b"][(number % 5 == 0) as usize], "0xA", 1 + number % 3);
            let fits = admit(&limits, exact.iter().copied(), &next).is_ok();
            match spending.reserve(&limits, next) {
                Ok(()) => {
                    assert!(fits, "{number}");
                    exact.push(next).unwrap();
                }
                Err(Exceeded::Limit(0)) => {
                    refused += 1;
                    late += u32::from(fits);
                }
                Err(other) => panic!("{number}: {other}"),
            }
        }
        assert!(refused > 40 && exact.len() > 150, "{refused} {}", exact.len());
        assert!(late > 0, "what was added up counts longer");
        // Payments that nothing can be added up with find no room.
        let mut spending = Spending::<2>::new();
        for host in ["a", "b"] {
            spending.reserve(&limits, spend(0, host, "0xA", 1)).unwrap();
        }
        assert_eq!(spending.reserve(&limits, spend(0, "c", "0xA", 1)), Err(Exceeded::Full));
        assert_eq!(spending.iter().count(), 2);
    }
}
