//! The programs a payment may call, and the instructions it may give them.

use x402_core::crypto::{Verify, sha256};

use crate::{Address, base58};

/// SPL Token.
pub const TOKEN: Address = literal("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// Token-2022.
pub const TOKEN_2022: Address = literal("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
/// Associated Token Account.
pub const ASSOCIATED_TOKEN: Address = literal("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
/// Compute Budget.
pub const COMPUTE_BUDGET: Address = literal("ComputeBudget111111111111111111111111111111");
/// Memo.
pub const MEMO: Address = literal("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
/// Lighthouse, with which wallets such as Phantom bound the changes a transaction may make.
pub const LIGHTHOUSE: Address = literal("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");

/// An address known at compile time.
pub(crate) const fn literal(text: &str) -> Address {
    Address(base58::literal(text.as_bytes()))
}

/// The program a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProgram {
    /// SPL Token.
    Token,
    /// Token-2022, whose mints may have extensions that change the effect of a transfer.
    Token2022,
}

impl TokenProgram {
    /// Returns the program at an address.
    pub fn at(address: Address) -> Option<Self> {
        match address {
            TOKEN => Some(Self::Token),
            TOKEN_2022 => Some(Self::Token2022),
            _ => None,
        }
    }

    /// Its address.
    pub const fn address(self) -> Address {
        match self {
            Self::Token => TOKEN,
            Self::Token2022 => TOKEN_2022,
        }
    }
}

/// Returns the account in which `owner` holds the tokens of `mint`. It is the first address from
/// bump 255 down that is off the curve, so that nobody has a key for it. `None` if there is none,
/// which has never been seen.
///
/// ```
/// use x402_core::crypto::ed25519::Dalek;
/// use x402_svm::{Address, TokenProgram, associated_token_address};
/// let owner = Address::parse("9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu").unwrap();
/// let usdc = Address::parse("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU").unwrap();
/// let account = associated_token_address(&Dalek, owner, TokenProgram::Token, usdc).unwrap();
/// assert_eq!(account.to_string(), "GzpVTWkyGGfBXRaprnrhV3JtGj3TT52z5w2CrEJsTfjm");
/// ```
pub fn associated_token_address(
    curve: &impl Verify,
    owner: Address,
    program: TokenProgram,
    mint: Address,
) -> Option<Address> {
    let token = program.address();
    (0..=u8::MAX).rev().find_map(|bump| {
        let address = sha256(&[
            &owner.0,
            &token.0,
            &mint.0,
            &[bump],
            &ASSOCIATED_TOKEN.0,
            b"ProgramDerivedAddress",
        ]);
        (!curve.is_point(&address)).then_some(Address(address))
    })
}

/// Discriminators of Compute Budget.
const SET_COMPUTE_UNIT_LIMIT: u8 = 2;
const SET_COMPUTE_UNIT_PRICE: u8 = 3;

/// Returns the data of a `SetComputeUnitLimit` instruction.
pub const fn set_compute_unit_limit(units: u32) -> [u8; 5] {
    let [a, b, c, d] = units.to_le_bytes();
    [SET_COMPUTE_UNIT_LIMIT, a, b, c, d]
}

/// Returns the data of a `SetComputeUnitPrice` instruction, in micro-lamports per compute unit.
pub const fn set_compute_unit_price(price: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = price.to_le_bytes();
    [SET_COMPUTE_UNIT_PRICE, a, b, c, d, e, f, g, h]
}

/// Returns the units of a `SetComputeUnitLimit` instruction's data.
pub fn compute_unit_limit(data: &[u8]) -> Option<u32> {
    match data {
        [SET_COMPUTE_UNIT_LIMIT, units @ ..] => Some(u32::from_le_bytes(units.try_into().ok()?)),
        _ => None,
    }
}

/// Returns the micro-lamports per compute unit of a `SetComputeUnitPrice` instruction's data.
pub fn compute_unit_price(data: &[u8]) -> Option<u64> {
    match data {
        [SET_COMPUTE_UNIT_PRICE, price @ ..] => Some(u64::from_le_bytes(price.try_into().ok()?)),
        _ => None,
    }
}

/// Discriminator of `TransferChecked` in both token programs.
const TRANSFER_CHECKED: u8 = 12;

/// A `TransferChecked` instruction of either token program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferChecked {
    /// Place of the account that is debited.
    pub source: u8,
    /// Place of the mint.
    pub mint: u8,
    /// Place of the account that is credited.
    pub destination: u8,
    /// Place of its authority, who may debit it.
    pub authority: u8,
    /// Amount, in the token's smallest unit.
    pub amount: u64,
    /// Decimals the sender takes the mint to have.
    pub decimals: u8,
}

impl TransferChecked {
    /// Length of the instruction's data.
    pub const DATA_BYTES: usize = 10;

    /// Reads an instruction's accounts and data. More accounts than four are for several signers
    /// or a transfer hook: no payment has them.
    pub fn parse(accounts: &[u8], data: &[u8]) -> Option<Self> {
        let [source, mint, destination, authority] = *accounts else { return None };
        let [TRANSFER_CHECKED, amount @ .., decimals] = data else { return None };
        let amount = u64::from_le_bytes(amount.try_into().ok()?);
        Some(Self { source, mint, destination, authority, amount, decimals: *decimals })
    }

    /// Returns the accounts of the instruction.
    pub const fn accounts(&self) -> [u8; 4] {
        [self.source, self.mint, self.destination, self.authority]
    }

    /// Returns the data of the instruction.
    pub const fn data(&self) -> [u8; Self::DATA_BYTES] {
        let [a, b, c, d, e, f, g, h] = self.amount.to_le_bytes();
        [TRANSFER_CHECKED, a, b, c, d, e, f, g, h, self.decimals]
    }
}
