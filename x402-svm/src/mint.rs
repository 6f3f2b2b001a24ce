use core::fmt;

use crate::{Address, TokenProgram};

/// Length of a mint account without extensions.
const MINT_BYTES: usize = 82;
/// The place of a Token-2022 account's type, behind room for the longest plain account.
const ACCOUNT_TYPE_AT: usize = 165;
const ACCOUNT_TYPE_MINT: u8 = 1;
/// The length of an account of several signers, which has no type; a mint never has this length.
const MULTISIG_BYTES: usize = 355;

/// Extensions of a Token-2022 mint, as a set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Extensions(u32);

/// Extension numbers that mints may have (`ExtensionType` of Token-2022) and their names.
const NAMES: [(u16, &str); 17] = [
    (1, "transfer fee"),
    (3, "close authority"),
    (4, "confidential transfer"),
    (6, "default account state"),
    (9, "non-transferable"),
    (10, "interest bearing"),
    (12, "permanent delegate"),
    (14, "transfer hook"),
    (16, "confidential transfer fee"),
    (18, "metadata pointer"),
    (19, "metadata"),
    (20, "group pointer"),
    (21, "group"),
    (22, "group member pointer"),
    (23, "group member"),
    (25, "scaled amount"),
    (26, "pausable"),
];

impl Extensions {
    /// None.
    pub const NONE: Self = Self(0);
    /// A part of each transfer is withheld.
    pub const TRANSFER_FEE: Self = Self(1 << 1);
    /// The mint can be closed when nothing is left of the token.
    pub const CLOSE_AUTHORITY: Self = Self(1 << 3);
    /// Balances may be hidden.
    pub const CONFIDENTIAL_TRANSFER: Self = Self(1 << 4);
    /// New accounts start in a state of the issuer's choice: here, frozen.
    pub const DEFAULT_FROZEN: Self = Self(1 << 6);
    /// It cannot be transferred.
    pub const NON_TRANSFERABLE: Self = Self(1 << 9);
    /// Somebody can move or burn anybody's tokens.
    pub const PERMANENT_DELEGATE: Self = Self(1 << 12);
    /// A program of the issuer's choice runs with each transfer, and may refuse it.
    pub const TRANSFER_HOOK: Self = Self(1 << 14);
    /// Fees of confidential transfers.
    pub const CONFIDENTIAL_TRANSFER_FEE: Self = Self(1 << 16);
    /// The place of name and symbol.
    pub const METADATA_POINTER: Self = Self(1 << 18);
    /// Name and symbol.
    pub const METADATA: Self = Self(1 << 19);
    /// All transfers can be stopped.
    pub const PAUSABLE: Self = Self(1 << 26);
    /// One that this library does not know.
    pub const UNKNOWN: Self = Self(1 << 31);

    /// Extensions with which an amount transferred need not be an amount received and kept.
    const UNSAFE: Self = Self::TRANSFER_FEE
        .with(Self::DEFAULT_FROZEN)
        .with(Self::NON_TRANSFERABLE)
        .with(Self::PERMANENT_DELEGATE)
        .with(Self::TRANSFER_HOOK)
        .with(Self::UNKNOWN);

    /// Returns both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the sets have one in common.
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().filter(|(number, _)| self.0 & (1 << number) != 0);
        let names = known.map(|(_, name)| *name);
        let all = names.chain(self.has_any(Self::UNKNOWN).then_some("unknown"));
        f.write_str("Extensions(")?;
        for (at, name) in all.enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            f.write_str(name)?;
        }
        f.write_str(")")
    }
}

/// A token's properties, as its mint account has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mint {
    /// The program it belongs to.
    pub program: TokenProgram,
    /// Decimals.
    pub decimals: u8,
    /// Extensions; none for SPL Token.
    pub extensions: Extensions,
}

impl Mint {
    /// Reads a mint account: the program that owns it, and its bytes.
    ///
    /// Returns `None` for anything but an initialized mint of either token program. An extension
    /// that is unknown here, or cannot be one of a mint, is noted as [`Extensions::UNKNOWN`].
    ///
    /// Source: `spl_token::state::Mint`; Token-2022's account layout.
    pub fn parse(owner: Address, data: &[u8]) -> Option<Self> {
        let program = TokenProgram::at(owner)?;
        if data.len() == MULTISIG_BYTES {
            return None;
        }
        let (base, rest) = data.split_first_chunk::<MINT_BYTES>()?;
        // Authority to mint (36), supply (8), then these two.
        let [decimals, 1] = *base.get(44..46)? else { return None };
        let extensions = match (program, rest) {
            (_, []) => Extensions::NONE,
            (TokenProgram::Token, _) => return None,
            (TokenProgram::Token2022, _) => {
                let (kind, extensions) = data.get(ACCOUNT_TYPE_AT..)?.split_first()?;
                if *kind != ACCOUNT_TYPE_MINT {
                    return None;
                }
                read_extensions(extensions)?
            }
        };
        Some(Self { program, decimals, extensions })
    }

    /// Returns whether an amount transferred is an amount received and kept, as far as the mint
    /// shows. It must have no fee on transfers, no hook, no permanent delegate, no accounts frozen
    /// from the start, and nothing unknown.
    pub const fn is_safe(&self) -> bool {
        !self.extensions.has_any(Extensions::UNSAFE)
    }
}

/// Reads type, length and value, one after another, up to the end or to type zero.
fn read_extensions(mut data: &[u8]) -> Option<Extensions> {
    let mut all = Extensions::NONE;
    while !data.is_empty() {
        let (kind, rest) = data.split_first_chunk()?;
        let number = u16::from_le_bytes(*kind);
        if number == 0 {
            break;
        }
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        data = rest;
        let extension = match (number, value) {
            // Accounts start initialized (1), like those of any mint.
            (6, [1]) => continue,
            _ if NAMES.iter().any(|(known, _)| *known == number) => Extensions(1 << number),
            _ => Extensions::UNKNOWN,
        };
        all = all.with(extension);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::{MEMO, TOKEN, TOKEN_2022};
    use std::vec::Vec;

    fn account(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = std::vec![0; MINT_BYTES];
        (data[44], data[45]) = (6, 1);
        if !extensions.is_empty() {
            data.resize(ACCOUNT_TYPE_AT, 0);
            data.push(ACCOUNT_TYPE_MINT);
        }
        for (number, value) in extensions {
            data.extend(number.to_le_bytes());
            data.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            data.extend(*value);
        }
        data
    }

    #[test]
    fn mints_with_and_without_extensions() {
        let plain = Mint::parse(TOKEN, &account(&[])).unwrap();
        assert_eq!(
            (plain.decimals, plain.extensions, plain.is_safe()),
            (6, Extensions::NONE, true)
        );
        type Case<'a> = (&'a [(u16, &'a [u8])], Extensions, bool);
        let cases: [Case<'_>; 11] = [
            (&[], Extensions::NONE, true),
            (&[(1, &[0; 108])], Extensions::TRANSFER_FEE, false),
            (&[(12, &[0; 32])], Extensions::PERMANENT_DELEGATE, false),
            (&[(14, &[0; 64])], Extensions::TRANSFER_HOOK, false),
            (&[(6, &[1])], Extensions::NONE, true),
            (&[(6, &[2])], Extensions::DEFAULT_FROZEN, false),
            (&[(6, &[])], Extensions::DEFAULT_FROZEN, false),
            (&[(9, &[])], Extensions::NON_TRANSFERABLE, false),
            (&[(77, &[])], Extensions::UNKNOWN, false),
            (&[(2, &[0; 8])], Extensions::UNKNOWN, false),
            (
                &[(18, &[0; 64]), (3, &[0; 32]), (19, b"name")],
                Extensions::METADATA_POINTER
                    .with(Extensions::CLOSE_AUTHORITY)
                    .with(Extensions::METADATA),
                true,
            ),
        ];
        for (extensions, set, safe) in cases {
            let data = account(extensions);
            let mint = Mint::parse(TOKEN_2022, &data).unwrap();
            assert_eq!((mint.extensions, mint.is_safe()), (set, safe), "{extensions:?}");
            if !extensions.is_empty() {
                // The bytes after type zero are room left over.
                let padded = [data.as_slice(), &[0, 0, 1, 0]].concat();
                assert_eq!(Mint::parse(TOKEN_2022, &padded), Some(mint));
                assert_eq!(Mint::parse(TOKEN, &data), None);
                // Neither a shorter extension nor half a header is taken for the whole.
                let last = data.len() - 4 - extensions.last().unwrap().1.len();
                for cut in last + 1..data.len() {
                    assert_eq!(Mint::parse(TOKEN_2022, &data[..cut]), None, "{cut}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_mint() {
        let data = account(&[(12, &[0; 32])]);
        let change = |at: usize, to: u8| {
            let mut data = data.clone();
            data[at] = to;
            data
        };
        for wrong in [
            change(45, 0),              // not initialized
            change(ACCOUNT_TYPE_AT, 2), // an account, not a mint
            data[..MINT_BYTES - 1].to_vec(),
            data[..ACCOUNT_TYPE_AT].to_vec(),
            data[..120].to_vec(),
            [&data[..], &[0; MULTISIG_BYTES]].concat()[..MULTISIG_BYTES].to_vec(),
        ] {
            assert_eq!(Mint::parse(TOKEN_2022, &wrong), None);
        }
        assert_eq!(Mint::parse(MEMO, &account(&[])), None);
    }
}
