//! A small table of what was spent never allows what a complete memory would refuse.

use proptest::prelude::*;
use x402_core::budget::{DAY, Exceeded, Key, Limit, Most, Per, Scope, Spend, Spending, admit};
use x402_core::{Amount, Money, Network};

const TOKENS: [&str; 2] = ["0xaa", "0xbb"];
const NAMES: [&str; 3] = ["one", "two", "three"];

fn base() -> Network<'static> {
    Network::parse("eip155:8453").unwrap()
}

fn limit() -> impl Strategy<Value = Limit<'static>> {
    let most = prop_oneof![
        (1..40u64)
            .prop_map(|cents| { Most::Money(Money::parse(&format!("$0.{cents:02}")).unwrap()) }),
        (1..400_000u64, 0..2usize).prop_map(|(units, token)| Most::Units {
            amount: units.into(),
            network: base(),
            asset: TOKENS[token],
        }),
    ];
    let per = prop_oneof![Just(Per::Payment), Just(Per::Day), Just(Per::Ever)];
    let scope = prop_oneof![
        Just(Scope::All),
        Just(Scope::EachHost),
        Just(Scope::EachPayee),
        (0..3usize).prop_map(|name| Scope::Host(NAMES[name])),
        (0..3usize).prop_map(|name| Scope::Payee(NAMES[name])),
    ];
    (most, per, scope).prop_map(|(most, per, scope)| Limit { most, per, scope })
}

/// Seconds since the last, host, payee, token, units.
type Try = (u64, usize, usize, usize, u64);

fn tries() -> impl Strategy<Value = Vec<Try>> {
    prop::collection::vec((0..DAY / 3, 0..3usize, 0..3usize, 0..2usize, 1..100_000u64), 1..60)
}

fn spends(tries: &[Try]) -> impl Iterator<Item = Spend> {
    let mut at = 0;
    tries.iter().map(move |&(later, host, payee, token, units)| {
        at += later;
        Spend {
            at,
            host: Key::host(NAMES[host]),
            payee: Key::address(NAMES[payee]),
            asset: Key::asset(base(), TOKENS[token]),
            decimals: [6, 8][token],
            amount: units.into(),
        }
    })
}

proptest! {
    #[test]
    fn no_wider_than_a_complete_memory(
        limits in prop::collection::vec(limit(), 0..4),
        tries in tries(),
    ) {
        let mut small = Spending::<6>::new();
        let mut large = Spending::<64>::new();
        let mut all: Vec<Spend> = Vec::new();
        for next in spends(&tries) {
            let fits = admit(&limits, all.iter().copied(), &next);
            // With room for all, it is the same.
            let mut complete = large.clone();
            let large_took = complete.reserve(&limits, next);
            if small.reserve(&limits, next).is_ok() {
                prop_assert_eq!(fits, Ok(()));
                all.push(next);
                prop_assert_eq!(large_took, Ok(()));
                large = complete;
            } else if let Err(Exceeded::Limit(_)) = fits {
                prop_assert_eq!(large_took, fits);
            }
        }
        // Nothing that counts for ever is lost.
        if limits.iter().any(|limit| limit.per == Per::Ever) {
            let sum = |spends: &mut dyn Iterator<Item = Spend>| {
                spends.fold(Amount::ZERO, |sum, it| sum.checked_add(it.amount).unwrap())
            };
            prop_assert_eq!(sum(&mut small.iter()), sum(&mut all.iter().copied()));
        }
    }

    /// A limit's result equals a sum by hand, to the unit.
    #[test]
    fn a_limit_in_units_is_a_sum(tries in tries(), most in 1..2_000_000u64) {
        let most = Most::Units { amount: most.into(), network: base(), asset: "0xAA" };
        for per in [Per::Payment, Per::Day, Per::Ever] {
            let limits = [Limit { most, per, scope: Scope::EachHost }];
            let Most::Units { amount, .. } = most else { unreachable!() };
            let mut all: Vec<Spend> = Vec::new();
            for next in spends(&tries) {
                let token = Key::asset(base(), TOKENS[0]);
                let before: u64 = all
                    .iter()
                    .filter(|it| it.asset == token && it.host == next.host)
                    .filter(|it| match per {
                        Per::Payment => false,
                        Per::Day => next.at - it.at < DAY,
                        Per::Ever => true,
                    })
                    .map(|it| it.amount.as_u64().unwrap())
                    .sum();
                let sum = before + next.amount.as_u64().unwrap();
                let fits = next.asset != token || Amount::from(sum) <= amount;
                let admitted = admit(&limits, all.iter().copied(), &next).is_ok();
                prop_assert_eq!(admitted, fits);
                if admitted {
                    all.push(next);
                }
            }
        }
    }
}
