use core::fmt;

use super::Recover;
use crate::amount::Amount;

/// A secp256k1 signature from which the signer can be recovered: `r`, `s` and the parity of the
/// curve point. It has the one form the chains accept.
///
/// Every value of this type has `s` in the lower half (EIP-2), so a signature has no second
/// spelling. Others are refused, never normalised. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecoverableSignature {
    r_s: [u8; 64],
    odd: bool,
}

/// Why bytes are not a [`RecoverableSignature`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SignatureError {
    /// Not 65 bytes.
    Length,
    /// `v` is not 0, 1, 27 or 28.
    RecoveryId,
    /// `s` is zero or above half the group order.
    HighS,
}

/// Half the order of the group, rounded down, most significant byte first.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// The order of the group.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

impl RecoverableSignature {
    /// Reads `r`, `s` (32 bytes each, most significant first) and `v`.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignatureError> {
        let Some((r_s, [v])) = bytes.split_first_chunk::<64>() else {
            return Err(SignatureError::Length);
        };
        let odd = match v {
            0 | 27 => false,
            1 | 28 => true,
            _ => return Err(SignatureError::RecoveryId),
        };
        Self::from_parts(*r_s, odd)
    }

    /// Joins `r`, `s` and whether the point's y is odd.
    ///
    /// # Errors
    /// [`SignatureError::HighS`].
    pub fn from_parts(r_s: [u8; 64], odd: bool) -> Result<Self, SignatureError> {
        let s = r_s.last_chunk::<32>();
        if s.is_none_or(|s| *s > HALF_ORDER || *s == [0; 32]) {
            return Err(SignatureError::HighS);
        }
        Ok(Self { r_s, odd })
    }

    /// Completes a secure element's `r` and `s`, with `s` in either half, by finding the spelling
    /// from which `signer` is recovered. It is for one's own signatures: those of others are never
    /// normalised. `None` if it is no signature of `digest` by `signer`.
    pub fn find(
        r_s: &[u8; 64],
        digest: &[u8; 32],
        signer: &[u8; 20],
        recover: &impl Recover,
    ) -> Option<Self> {
        let mut r_s = *r_s;
        let s = r_s.last_chunk_mut::<32>()?;
        if *s > HALF_ORDER {
            let order = Amount::from_be_bytes(&ORDER);
            *s = order.checked_sub(Amount::from_be_bytes(s))?.to_be_bytes();
        }
        [false, true]
            .into_iter()
            .filter_map(|odd| Self::from_parts(r_s, odd).ok())
            .find(|signature| recover.recover(digest, signature) == Some(*signer))
    }

    /// Returns `r`, `s` and `v`, where `v` is 27 or 28 as the token contracts want it.
    pub fn to_bytes(self) -> [u8; 65] {
        let mut bytes = [if self.odd { 28 } else { 27 }; 65];
        for (place, byte) in bytes.iter_mut().zip(self.r_s) {
            *place = byte;
        }
        bytes
    }

    /// Returns `r` and `s`.
    pub const fn r_s(&self) -> &[u8; 64] {
        &self.r_s
    }

    /// Returns whether the point's y is odd.
    pub const fn is_odd(&self) -> bool {
        self.odd
    }
}

impl fmt::Debug for RecoverableSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoverableSignature")
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "signature is not 65 bytes",
            Self::RecoveryId => "signature has an unknown recovery id",
            Self::HighS => "signature is not in the lower half",
        })
    }
}

impl core::error::Error for SignatureError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_second_spelling() {
        let mut good = [1u8; 65];
        for (v, odd) in [(0, false), (1, true), (27, false), (28, true)] {
            good[64] = v;
            let signature = RecoverableSignature::from_bytes(&good).unwrap();
            assert_eq!(signature.is_odd(), odd);
            assert_eq!(signature.to_bytes()[64], if odd { 28 } else { 27 });
        }
        for v in (2..27).chain(29..=255) {
            good[64] = v;
            assert_eq!(RecoverableSignature::from_bytes(&good), Err(SignatureError::RecoveryId));
        }
        good[64] = 27;
        for len in [0, 64, 66] {
            let bytes = [1u8; 66];
            let short = RecoverableSignature::from_bytes(&bytes[..len]);
            assert_eq!(short, Err(SignatureError::Length));
        }
        good[32..64].copy_from_slice(&HALF_ORDER);
        assert!(RecoverableSignature::from_bytes(&good).is_ok());
        good[63] += 1;
        assert_eq!(RecoverableSignature::from_bytes(&good), Err(SignatureError::HighS));
        good[32..64].fill(0);
        assert_eq!(RecoverableSignature::from_bytes(&good), Err(SignatureError::HighS));
    }
}
