//! The questions to any token, and the calls of the ledger.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{Revert, SolCall, SolError};
use x402_core::Amount;

use super::signature::last_answer;

alloy_sol_types::sol! {
    interface Token {
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function balanceOf(address account) external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
    }
}

pub(super) use Token::{DOMAIN_SEPARATORCall, balanceOfCall};

pub(super) const fn evm(address: x402_evm::Address) -> Address {
    Address::new(address.0)
}

pub(super) fn word(amount: Amount) -> U256 {
    U256::from_be_bytes(amount.to_be_bytes())
}

/// A transfer of tokens by a transaction of its own that calls the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) from: x402_evm::Address,
    pub(crate) pay_to: x402_evm::Address,
    pub(crate) asset: x402_evm::Address,
    pub(crate) amount: Amount,
}

impl Transfer {
    /// Reads a call that [`Calling::own`] makes.
    pub(super) fn read(from: x402_evm::Address, call: &Calling) -> Option<Self> {
        let Token::transferCall { to, value } =
            Token::transferCall::abi_decode_validate(&call.data).ok()?;
        let address = |address: Address| x402_evm::Address(address.into_array());
        let amount = Amount::from_be_bytes(&value.to_be_bytes());
        Some(Self { from, pay_to: address(to), asset: address(call.to), amount })
    }
}

/// A call in the form in which it is sent.
#[derive(Clone)]
pub(super) struct Calling {
    pub(super) to: Address,
    pub(super) data: Bytes,
    /// Whether it makes several calls. Then the answer of the last one counts.
    pub(super) several: bool,
}

impl Calling {
    /// Makes a call of one contract.
    pub(super) fn to(contract: Address, data: Vec<u8>) -> Self {
        Self { to: contract, data: data.into(), several: false }
    }

    /// Makes a transfer of the sender's own tokens.
    pub(super) fn own(transfer: &Transfer) -> Self {
        let (to, value) = (evm(transfer.pay_to), word(transfer.amount));
        Self::to(evm(transfer.asset), Token::transferCall { to, value }.abi_encode())
    }

    /// Returns the contract's answer, from the result of a call that did not revert.
    pub(super) fn answer(&self, answer: Bytes) -> Option<Bytes> {
        if self.several { last_answer(&answer) } else { Some(answer) }
    }
}

/// Returns the text of a revert, if it has one.
pub(super) fn revert_text(data: &[u8]) -> Option<String> {
    Revert::abi_decode(data).ok().map(|revert| revert.reason)
}
