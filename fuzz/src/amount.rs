//! Amounts and money against big integers.

use arbitrary::Arbitrary;
use num_bigint::BigUint;
use x402_core::{Amount, Money, ParseError};

use crate::structured;

pub use crate::blindly as mutate;

#[derive(Arbitrary)]
struct Input<'a> {
    one: Number,
    other: Number,
    small: u64,
    decimals: u8,
    /// Text near numbers: each byte stands for a character.
    near: &'a [u8],
    /// Any text.
    text: &'a str,
}

#[derive(Arbitrary)]
struct Number {
    bytes: [u8; 32],
    zeros: u8,
    /// All of the bits are ones.
    full: bool,
}

impl Number {
    fn read(&self) -> (Amount, BigUint) {
        let mut bytes = if self.full { [0xff; 32] } else { self.bytes };
        bytes[..usize::from(self.zeros) % 33].fill(0);
        let amount = Amount::from_be_bytes(&bytes);
        assert_eq!(amount.to_be_bytes(), bytes);
        (amount, BigUint::from_bytes_be(&bytes))
    }
}

/// Panics if anything above is not so.
pub fn check(bytes: &[u8]) {
    let Some(input) = structured::<Input<'_>>(bytes) else { return };
    let (a, one) = input.one.read();
    let (b, other) = input.other.read();
    for (amount, number) in [(a, &one), (b, &other), (input.small.into(), &input.small.into())] {
        printed(amount, number);
    }
    assert_eq!(a.cmp(&b), one.cmp(&other));
    assert_eq!(a == b, one == other);
    assert_eq!(a.checked_add(b), amount(&(&one + &other)));
    let rest = (one >= other).then(|| amount(&(&one - &other)).unwrap());
    assert_eq!(a.checked_sub(b), rest);

    let near =
        input.near.iter().map(|byte| b"0123456789012345678901234.$-+ e_"[usize::from(byte % 32)]);
    let near = String::from_utf8(near.collect()).unwrap();
    let (whole, money) = (one.to_string(), format!("${}.{}", input.small, input.near.len()));
    for text in [input.text, &near, &whole, &money] {
        parsed(text);
        priced(text, input.decimals, a, &one);
        priced(text, input.decimals % 20, input.small.into(), &input.small.into());
    }
}

fn max() -> BigUint {
    (BigUint::from(1u8) << 256) - 1u8
}

/// The amount of a number, if it is one.
fn amount(number: &BigUint) -> Option<Amount> {
    let bytes = number.to_bytes_be();
    let mut whole = [0; 32];
    whole[32usize.checked_sub(bytes.len())?..].copy_from_slice(&bytes);
    Some(Amount::from_be_bytes(&whole))
}

fn printed(amount: Amount, number: &BigUint) {
    let text = number.to_string();
    assert_eq!(amount.decimal(&mut [0; Amount::DIGITS]), text);
    assert_eq!(amount.to_string(), text);
    assert_eq!(format!("{amount:?}"), text);
    assert_eq!(format!("{amount:>+90}"), format!("{:>90}", format!("+{text}")));
    assert_eq!(format!("{amount:090}"), format!("{number:0>90}"));
    assert_eq!(Amount::parse(&text), Ok(amount));
    assert_eq!(amount.as_u64(), u64::try_from(number).ok());
    assert_eq!(amount.is_zero(), *number == BigUint::ZERO);
}

fn digits(text: &str) -> Option<BigUint> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse::<BigUint>().unwrap())?;
    // One spelling: no zeros in front.
    (number.to_string() == text).then_some(number)
}

fn parsed(text: &str) {
    let expected = digits(text).filter(|number| *number <= max());
    assert_eq!(Amount::parse(text).ok(), expected.as_ref().and_then(amount));
}

/// Money, and whether it covers an amount, a price near it, and amounts next to the limit.
fn priced(text: &str, decimals: u8, amount_: Amount, number: &BigUint) {
    let plain = text.strip_prefix('$').unwrap_or(text);
    let (whole, fraction) = match plain.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (plain, None),
    };
    let places = fraction.map_or(0, str::len);
    let all = format!("{whole}{}", fraction.unwrap_or_default());
    let sound = digits(whole).is_some()
        && fraction.is_none_or(|fraction| {
            (1..=18).contains(&places) && fraction.bytes().all(|byte| byte.is_ascii_digit())
        });
    let count = all.parse::<u64>().ok().filter(|_| sound);
    let Some((money, count)) = Money::parse(text).ok().zip(count) else {
        assert!(Money::parse(text).err() == Some(ParseError::InvalidMoney) && count.is_none());
        return;
    };
    let point = if places == 0 { "" } else { "." };
    assert_eq!(money.to_string(), format!("${whole}{point}{}", fraction.unwrap_or_default()));

    let ten = |power: usize| BigUint::from(10u8).pow(power as u32);
    let scale = usize::from(decimals);
    let units = match scale.checked_sub(places) {
        None => Err(ParseError::ExcessDigits),
        Some(more) => amount(&(ten(more) * count)).ok_or(ParseError::InvalidMoney),
    };
    assert_eq!(money.to_units(decimals), units);
    let covered = |number: &BigUint| number * ten(places) <= ten(scale) * count;
    assert_eq!(money.covers(amount_, decimals), covered(number));
    let limit = ten(scale) * count / ten(places);
    for near in [limit.clone(), &limit + 1u8, &limit + 2u8] {
        if let Some(units) = amount(&near) {
            assert_eq!(money.covers(units, decimals), covered(&near));
        }
    }
}
