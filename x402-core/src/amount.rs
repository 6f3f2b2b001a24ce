//! Token amounts, and prices in money.

use core::fmt;

use crate::error::ParseError;

/// An amount of a token in its smallest unit, from 0 to 2^256-1.
///
/// Text has one spelling: decimal digits without sign, spaces, separators or leading zeros.
///
/// ```
/// use x402_core::Amount;
/// assert_eq!(Amount::parse("10000")?, Amount::from(10_000));
/// for wrong in ["", "0x10", "+1", "1_0", " 1", "01", "1e3", "１"] {
///     assert!(Amount::parse(wrong).is_err());
/// }
/// # Ok::<(), x402_core::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amount {
    /// Least significant first.
    limbs: [u32; 8],
}

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self { limbs: [0; 8] };

    /// 2^256-1.
    pub const MAX: Self = Self { limbs: [u32::MAX; 8] };

    /// Decimal digits of the largest amount.
    pub const DIGITS: usize = 78;

    /// Reads `0|[1-9][0-9]*`.
    ///
    /// # Errors
    /// [`ParseError::InvalidAmount`] for anything else, or above 2^256-1.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let digits = text.as_bytes();
        let canonical = match digits {
            [b'0'] => true,
            [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !canonical || digits.len() > Self::DIGITS {
            return Err(ParseError::InvalidAmount);
        }
        if let Ok(small) = text.parse::<u64>() {
            return Ok(small.into());
        }
        let mut amount = Self::ZERO;
        for chunk in digits.chunks(9) {
            let (mut scale, mut value) = (1u32, 0u32);
            for digit in chunk {
                // At most nine digits: both stay below 2^32.
                scale = scale.wrapping_mul(10);
                value = value.wrapping_mul(10).wrapping_add(u32::from(digit & 0xf));
            }
            amount = amount.times_plus(scale, value).ok_or(ParseError::InvalidAmount)?;
        }
        Ok(amount)
    }

    /// Returns `self * factor + addend`, if it fits.
    fn times_plus(mut self, factor: u32, addend: u32) -> Option<Self> {
        let mut carry = addend;
        for limb in &mut self.limbs {
            // (2^32-1)^2 + 2^32-1 < 2^64
            let wide = u64::from(*limb).wrapping_mul(factor.into()).wrapping_add(carry.into());
            *limb = low(wide);
            carry = low(wide >> 32);
        }
        (carry == 0).then_some(self)
    }

    /// Returns `self * 10^zeros`, an amount in a scale of more decimals; `None` above 2^256-1.
    pub fn with_zeros(self, zeros: u8) -> Option<Self> {
        (0..zeros).try_fold(self, |amount, _| amount.times_plus(10, 0))
    }

    /// Returns `self / 10^9` and the remainder.
    fn divide(mut self) -> (Self, u32) {
        let mut rest = 0u32;
        for limb in self.limbs.iter_mut().rev() {
            let wide = (u64::from(rest) << 32) | u64::from(*limb);
            *limb = low(wide / 1_000_000_000);
            rest = low(wide % 1_000_000_000);
        }
        (self, rest)
    }

    /// Writes the decimal digits at the end of `out` and returns them.
    pub fn decimal(self, out: &mut [u8; Self::DIGITS]) -> &str {
        let mut value = self;
        let mut start = out.len();
        let mut part = 0u32;
        for (written, (index, digit)) in out.iter_mut().enumerate().rev().enumerate() {
            if part == 0 && value.is_zero() && written != 0 {
                break;
            }
            if written % 9 == 0 {
                (value, part) = value.divide();
            }
            *digit = b'0' | u8::try_from(part % 10).unwrap_or(0);
            part /= 10;
            start = index;
        }
        out.get(start..).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or("0")
    }

    /// Reads 32 bytes, most significant first (Solidity's `uint256`).
    pub fn from_be_bytes(bytes: &[u8; 32]) -> Self {
        let mut amount = Self::ZERO;
        let (words, _) = bytes.as_chunks::<4>();
        for (limb, word) in amount.limbs.iter_mut().rev().zip(words) {
            *limb = u32::from_be_bytes(*word);
        }
        amount
    }

    /// Returns 32 bytes, most significant first (Solidity's `uint256`).
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (words, _) = bytes.as_chunks_mut::<4>();
        for (word, limb) in words.iter_mut().zip(self.limbs.iter().rev()) {
            *word = limb.to_be_bytes();
        }
        bytes
    }

    /// Returns the amount, if it is below 2^64.
    pub fn as_u64(self) -> Option<u64> {
        let [low, high, rest @ ..] = self.limbs;
        (rest == [0; 6]).then_some((u64::from(high) << 32) | u64::from(low))
    }

    /// Returns whether the amount is zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Returns `self + other`; `None` above 2^256-1.
    pub fn checked_add(mut self, other: Self) -> Option<Self> {
        let mut carry = false;
        for (limb, &addend) in self.limbs.iter_mut().zip(&other.limbs) {
            let (sum, first) = limb.overflowing_add(addend);
            let (sum, second) = sum.overflowing_add(carry.into());
            *limb = sum;
            carry = first | second;
        }
        (!carry).then_some(self)
    }

    /// Returns `self - other`; `None` below zero.
    pub fn checked_sub(mut self, other: Self) -> Option<Self> {
        let mut borrow = false;
        for (limb, &subtrahend) in self.limbs.iter_mut().zip(&other.limbs) {
            let (difference, first) = limb.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(borrow.into());
            *limb = difference;
            borrow = first | second;
        }
        (!borrow).then_some(self)
    }
}

/// Returns the low half.
#[allow(clippy::cast_possible_truncation)] // the point of it
const fn low(wide: u64) -> u32 {
    wide as u32
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self { limbs: [low(value), low(value >> 32), 0, 0, 0, 0, 0, 0] }
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.limbs.iter().rev().cmp(other.limbs.iter().rev())
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(true, "", self.decimal(&mut [0; Self::DIGITS]))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A price or a limit in money, exact: `"$0.01"` is 1 / 10^2.
///
/// Stablecoins are counted as the money they stand for; nothing here converts currencies.
///
/// ```
/// use x402_core::{Amount, amount::Money};
/// assert_eq!(Money::parse("$0.01")?.to_units(6)?, Amount::from(10_000));
/// assert_eq!(Money::parse("4.02")?.to_units(6)?, Amount::from(4_020_000));
/// assert!(Money::parse("$0.0000001")?.to_units(6).is_err()); // seven decimals, the token has six
/// # Ok::<(), x402_core::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Money {
    digits: u64,
    decimals: u8,
}

impl Money {
    /// One dollar.
    pub const ONE: Self = Self { digits: 1, decimals: 0 };

    /// Reads `$?digits[.digits]`.
    ///
    /// # Errors
    /// [`ParseError::InvalidMoney`] for anything else, for more than 18 decimals, or if the digits
    /// without the point are above 2^64-1.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.strip_prefix('$').unwrap_or(text);
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(ParseError::InvalidMoney),
            Some(parts) => parts,
            None => (text, ""),
        };
        let padded = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || padded || fraction.len() > 18 {
            return Err(ParseError::InvalidMoney);
        }
        let mut digits = 0u64;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(ParseError::InvalidMoney);
            }
            digits = digits
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(byte & 0xf)))
                .ok_or(ParseError::InvalidMoney)?;
        }
        let decimals = u8::try_from(fraction.len()).map_err(|_| ParseError::InvalidMoney)?;
        Ok(Self { digits, decimals })
    }

    /// Returns the money that an amount of a token with so many decimals stands for. `None` if it
    /// takes more digits than there is room for.
    pub fn from_units(amount: Amount, decimals: u8) -> Option<Self> {
        let (mut digits, mut decimals) = (amount.as_u64()?, decimals);
        while decimals > 0 && digits.is_multiple_of(10) {
            digits /= 10;
            decimals = decimals.saturating_sub(1);
        }
        (decimals <= 18).then_some(Self { digits, decimals })
    }

    /// Returns the amount in units of a token that has `decimals` decimals.
    ///
    /// # Errors
    /// [`ParseError::ExcessDigits`] if it is written with more decimals than the token has,
    /// [`ParseError::InvalidMoney`] if it is above 2^256-1.
    pub fn to_units(self, decimals: u8) -> Result<Amount, ParseError> {
        let shift = decimals.checked_sub(self.decimals).ok_or(ParseError::ExcessDigits)?;
        Amount::from(self.digits).with_zeros(shift).ok_or(ParseError::InvalidMoney)
    }

    /// Returns whether `amount` of a token with `decimals` decimals is at most this much.
    pub fn covers(self, amount: Amount, decimals: u8) -> bool {
        // Compare at the finer of both scales; an overflow there is larger than any amount.
        let mine = self.to_units(decimals.max(self.decimals)).unwrap_or(Amount::MAX);
        let theirs = amount.with_zeros(self.decimals.saturating_sub(decimals));
        theirs.is_some_and(|theirs| theirs <= mine)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; Amount::DIGITS];
        let digits = Amount::from(self.digits).decimal(&mut digits);
        let decimals = usize::from(self.decimals);
        match digits.len().checked_sub(decimals) {
            Some(at @ 1..) if decimals > 0 => {
                let (whole, fraction) = digits.split_at_checked(at).unwrap_or((digits, ""));
                write!(f, "${whole}.{fraction}")
            }
            Some(1..) => write!(f, "${digits}"),
            _ => write!(f, "$0.{digits:0>decimals$}"),
        }
    }
}
