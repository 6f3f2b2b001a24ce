//! The calls of token contracts, and the meaning of their answers and logs.

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::{Revert, SolCall, SolError, SolEvent, SolValue};
use serde::Deserialize;
use x402_core::{Amount, Reason};
use x402_evm::{Authorization, Eip3009Payment, TransferProofPayment};

use crate::scheme::Eip3009Contract;

/// The same contract on every chain that has it. <https://github.com/mds1/multicall>
const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");

/// The last 32 bytes of a signature that says how its contract is to be made first (ERC-6492).
const ERC6492_SUFFIX: [u8; 32] = [
    0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92,
    0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92,
];

/// The answer of an account's contract to a signature of its own (ERC-1271).
const ERC1271_MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];

alloy_sol_types::sol! {
    interface Token {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

        function name() external view returns (string);
        function version() external view returns (string);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function balanceOf(address account) external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
        function authorizationState(address authorizer, bytes32 nonce)
            external view returns (bool);
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
            bytes32 nonce, uint8 v, bytes32 r, bytes32 s
        ) external;
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
            bytes32 nonce, bytes signature
        ) external;
    }

    interface Account {
        function isValidSignature(bytes32 digest, bytes signature)
            external view returns (bytes4);
    }

    interface Multicall3 {
        struct Call3 {
            address target;
            bool allowFailure;
            bytes callData;
        }
        struct Result {
            bool success;
            bytes returnData;
        }
        function aggregate3(Call3[] calls) external payable returns (Result[]);
    }
}

use Account::isValidSignatureCall;
pub(super) use Token::{
    DOMAIN_SEPARATORCall, authorizationStateCall, balanceOfCall, nameCall, versionCall,
};

pub(super) const fn evm(address: x402_evm::Address) -> Address {
    Address::new(address.0)
}

/// Tokens that somebody sends, by a transaction of its own that calls the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) from: x402_evm::Address,
    pub(crate) pay_to: x402_evm::Address,
    pub(crate) asset: x402_evm::Address,
    pub(crate) amount: Amount,
}

impl Transfer {
    /// Reads what [`Call::own`] writes.
    pub(super) fn read(from: x402_evm::Address, call: &Call) -> Option<Self> {
        let Token::transferCall { to, value } =
            Token::transferCall::abi_decode_validate(&call.data).ok()?;
        let address = |address: Address| x402_evm::Address(address.into_array());
        let amount = Amount::from_be_bytes(&value.to_be_bytes());
        Some(Self { from, pay_to: address(to), asset: address(call.to), amount })
    }
}

impl From<&TransferProofPayment> for Transfer {
    fn from(proof: &TransferProofPayment) -> Self {
        let TransferProofPayment { from, pay_to, asset, amount, .. } = *proof;
        Self { from, pay_to, asset, amount }
    }
}

/// How the payer's signature is put before the token.
pub(super) enum Proof {
    /// A key's `r`, `s` and `v`.
    Key(B256, B256, u8),
    /// For the contract at the payer's address to judge.
    Contract(Bytes),
    /// For a contract that is made by a factory's call first.
    Undeployed { factory: Address, call: Bytes, signature: Bytes },
}

impl Proof {
    /// From an authorization's signature; `has_code` is whether there is a contract at the payer's
    /// address. Then only that contract judges, whatever the key could say (ERC-1271; with
    /// EIP-7702 an account has both).
    ///
    /// # Errors
    /// [`Reason::InvalidExactEvmSignature`], or [`Reason::Eip6492FactoryNotAllowed`].
    pub(super) fn new(
        authorized: &Authorized,
        has_code: bool,
        factories: &[x402_evm::Address],
    ) -> Result<Self, Reason> {
        let invalid = Reason::InvalidExactEvmSignature;
        let signature = &authorized.signature;
        if let Some(wrapped) = signature.strip_suffix(&ERC6492_SUFFIX) {
            let parts = <(Address, Bytes, Bytes)>::abi_decode_params_validate(wrapped);
            let (factory, call, signature) = parts.map_err(|_| invalid)?;
            if has_code {
                return Ok(Self::Contract(signature));
            }
            if !factories.iter().any(|allowed| evm(*allowed) == factory) {
                return Err(Reason::Eip6492FactoryNotAllowed);
            }
            return Ok(Self::Undeployed { factory, call, signature });
        }
        if has_code {
            return Ok(Self::Contract(signature.clone()));
        }
        match (authorized.by_key, signature.split_first_chunk::<64>()) {
            (true, Some((r_s, [v]))) => {
                let (r, s) = r_s.split_at(32);
                Ok(Self::Key(B256::from_slice(r), B256::from_slice(s), *v))
            }
            _ => Err(invalid),
        }
    }
}

/// A call that makes a payment.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) to: Address,
    pub(super) data: Bytes,
    several: bool,
}

impl Call {
    /// One of a single contract.
    pub(super) fn to(contract: Address, data: Vec<u8>) -> Self {
        Self { to: contract, data: data.into(), several: false }
    }

    /// A transfer of the sender's own tokens.
    pub(super) fn own(transfer: &Transfer) -> Self {
        let (to, value) = (evm(transfer.pay_to), transfer.amount.to_be_bytes());
        let value = U256::from_be_bytes(value);
        Self::to(evm(transfer.asset), Token::transferCall { to, value }.abi_encode())
    }

    /// The transfer that a payer authorised.
    pub(super) fn transfer(authorized: &Authorized, proof: Proof) -> Self {
        let (token, authorization) = (evm(authorized.token), &authorized.authorization);
        let from = evm(authorization.from);
        let to = evm(authorization.to);
        let uint = |amount: x402_core::Amount| U256::from_be_bytes(amount.to_be_bytes());
        let (value, nonce) = (uint(authorization.value), B256::new(authorization.nonce));
        let (valid_after, valid_before) =
            (uint(authorization.valid_after), uint(authorization.valid_before));
        let by_contract = |signature| {
            Token::transferWithAuthorization_1Call {
                from,
                to,
                value,
                validAfter: valid_after,
                validBefore: valid_before,
                nonce,
                signature,
            }
            .abi_encode()
        };
        let data = match proof {
            Proof::Key(r, s, v) => Token::transferWithAuthorization_0Call {
                from,
                to,
                value,
                validAfter: valid_after,
                validBefore: valid_before,
                nonce,
                v,
                r,
                s,
            }
            .abi_encode(),
            Proof::Contract(signature) => by_contract(signature),
            Proof::Undeployed { factory, call, signature } => {
                return Self::after(factory, call, token, by_contract(signature));
            }
        };
        Self::to(token, data)
    }

    /// The question to the contract at the payer's address, or to the one that is made there first,
    /// whether a signature is good. `None` if no contract is to judge.
    pub(super) fn judgement(account: Address, digest: [u8; 32], proof: &Proof) -> Option<Self> {
        let ask = |signature: &Bytes| {
            let (digest, signature) = (B256::new(digest), signature.clone());
            isValidSignatureCall { digest, signature }.abi_encode()
        };
        match proof {
            Proof::Key(..) => None,
            Proof::Contract(signature) => Some(Self::to(account, ask(signature))),
            Proof::Undeployed { factory, call, signature } => {
                Some(Self::after(*factory, call.clone(), account, ask(signature)))
            }
        }
    }

    /// One after a factory's call, in one transaction: none of both without the last one.
    fn after(factory: Address, call: Bytes, contract: Address, data: Vec<u8>) -> Self {
        let calls = vec![
            // If somebody makes the contract first, this fails and the last one does not.
            Multicall3::Call3 { target: factory, allowFailure: true, callData: call },
            Multicall3::Call3 { target: contract, allowFailure: false, callData: data.into() },
        ];
        let data = Multicall3::aggregate3Call { calls }.abi_encode().into();
        Self { to: MULTICALL3, data, several: true }
    }

    /// The contract's answer, by the result of a call that did not revert. Where there is none,
    /// every call goes through and answers nothing.
    pub(super) fn answer(&self, answer: Bytes) -> Option<Bytes> {
        if !self.several {
            return Some(answer);
        }
        let results = Multicall3::aggregate3Call::abi_decode_returns_validate(&answer).ok()?;
        let [_, last] = <[_; 2]>::try_from(results).ok()?;
        last.success.then_some(last.returnData)
    }
}

/// Whether an account's contract said yes to a signature.
pub(super) fn is_valid_signature(answer: &[u8]) -> bool {
    answer.len() == 32 && answer.starts_with(&ERC1271_MAGIC)
}

/// A log as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    #[serde(default)]
    removed: bool,
    #[serde(default)]
    pub(super) transaction_hash: Option<B256>,
}

/// The topics of what became of an authorization, as a filter: used or cancelled.
pub(super) fn spent_topics(authorization: &Authorization) -> (Vec<B256>, B256, B256) {
    let either = vec![Token::AuthorizationUsed::SIGNATURE_HASH, CANCELED];
    (either, evm(authorization.from).into_word(), B256::new(authorization.nonce))
}

const CANCELED: B256 = Token::AuthorizationCanceled::SIGNATURE_HASH;

/// The end of an authorization, by the logs of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Movement {
    /// Its money moved as authorised.
    Moved,
    /// It was used up otherwise: for another transfer, or cancelled.
    Spent,
    /// They do not say, or could mean either.
    Unclear,
}

/// A transfer that a payer authorised, whoever is to judge the signature.
#[derive(Clone)]
pub struct Authorized {
    pub(super) token: x402_evm::Address,
    pub(super) authorization: Authorization,
    pub(super) signature: Bytes,
    /// Whether the signature is known to be that of the payer's key.
    pub(super) by_key: bool,
}

impl Authorized {
    /// The payment's identity: token, payer and nonce.
    pub(super) const fn key(&self) -> super::sender::Of {
        (self.token, self.authorization.from, self.authorization.nonce)
    }
}

impl From<&Eip3009Payment> for Authorized {
    fn from(payment: &Eip3009Payment) -> Self {
        let Eip3009Payment { asset: token, authorization, signature, .. } = *payment;
        Self { token, authorization, signature: signature.to_bytes().into(), by_key: true }
    }
}

impl From<&Eip3009Contract> for Authorized {
    fn from(payment: &Eip3009Contract) -> Self {
        Self {
            token: payment.asset(),
            authorization: *payment.authorization(),
            signature: Bytes::copy_from_slice(payment.signature()),
            by_key: false,
        }
    }
}

impl Authorized {
    /// Whether the log is the very transfer.
    fn is_transfer(&self, log: &Log) -> bool {
        let word = |address| evm(address).into_word();
        let topics = [
            Token::Transfer::SIGNATURE_HASH,
            word(self.authorization.from),
            word(self.authorization.to),
        ];
        !log.removed
            && log.address == evm(self.token)
            && log.topics == topics
            && log.data[..] == self.authorization.value.to_be_bytes()
    }

    /// Whether the log says that the authorization met this end.
    fn is_end(&self, end: B256, log: &Log) -> bool {
        let authorizer = evm(self.authorization.from).into_word();
        let topics = [end, authorizer, B256::new(self.authorization.nonce)];
        !log.removed && log.address == evm(self.token) && log.topics == topics
    }

    /// Whether the very transfer is among the logs of the ledger's own transaction, which makes no
    /// other.
    pub(super) fn moved_in_own(&self, logs: &[Log]) -> bool {
        logs.iter().any(|log| self.is_transfer(log))
    }

    /// The end of the authorization in somebody's transaction.
    ///
    /// A transaction can use several authorizations of one payer to one payee, of one amount: each
    /// has a transfer of its own, which tokens log right after the use. A transfer that is
    /// elsewhere may be another authorization's, and proves nothing.
    pub(super) fn movement(&self, logs: &[Log]) -> Movement {
        let used = |log: &Log| self.is_end(Token::AuthorizationUsed::SIGNATURE_HASH, log);
        let pairs = logs.windows(2);
        let mut pairs = pairs.filter_map(|pair| <&[Log; 2]>::try_from(pair).ok());
        if pairs.any(|[end, next]| used(end) && self.is_transfer(next)) {
            return Movement::Moved;
        }
        let cancelled = logs.iter().any(|log| self.is_end(CANCELED, log));
        let used = logs.iter().any(used);
        // A token may log in another order.
        let transferred = logs.iter().any(|log| self.is_transfer(log));
        if cancelled || used && !transferred { Movement::Spent } else { Movement::Unclear }
    }
}

/// Whether the logs of a transaction have the transfer of a proof, or one of more.
///
/// What an authorization moved is another payment's: it pays once, and not again as a transfer.
pub(super) fn pays(payment: &Transfer, logs: &[Log]) -> bool {
    let word = |address| evm(address).into_word();
    let (from, to) = (word(payment.from), word(payment.pay_to));
    let own = |log: &&Log| !log.removed && log.address == evm(payment.asset);
    let authorized =
        |log: &Log| log.topics.starts_with(&[Token::AuthorizationUsed::SIGNATURE_HASH, from]);
    let pays = |log: &Log| {
        let value = <[u8; 32]>::try_from(&log.data[..]);
        log.topics == [Token::Transfer::SIGNATURE_HASH, from, to]
            && value.is_ok_and(|value| Amount::from_be_bytes(&value) >= payment.amount)
    };
    !logs.iter().filter(own).any(authorized) && logs.iter().filter(own).any(pays)
}

/// The reason for a revert, by its text, as the official facilitator reads it.
pub(super) fn reason_of(text: &str) -> Option<Reason> {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| {
        let mut rest = text.as_str();
        words.iter().all(|word| {
            let after = rest.split_once(word).map(|(_, after)| after);
            after.inspect(|after| rest = after).is_some()
        })
    };
    let table: &[(&[&[&str]], Reason)] = &[
        (
            &[&["authorization", "expired"], &["authorization", "valid before"]],
            Reason::InvalidExactEvmPayloadAuthorizationValidBefore,
        ),
        (
            &[&["authorization", "not", "valid"]],
            Reason::InvalidExactEvmPayloadAuthorizationValidAfter,
        ),
        (&[&["authorization", "used"]], Reason::InvalidExactEvmNonceAlreadyUsed),
        (
            &[&["transfer", "exceeds", "balance"], &["insufficient", "balance"]],
            Reason::InvalidExactEvmInsufficientBalance,
        ),
        (&[&["invalid", "signature"], &["signermismatch"]], Reason::InvalidExactEvmSignature),
    ];
    let found = table.iter().find(|(patterns, _)| patterns.iter().any(|words| has(words)));
    found.map(|(_, reason)| *reason)
}

/// The text inside what a revert returned, if it has one.
pub(super) fn revert_text(data: &[u8]) -> Option<String> {
    Revert::abi_decode(data).ok().map(|revert| revert.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized(signature: &[u8], by_key: bool) -> Authorized {
        let authorization = Authorization {
            from: x402_evm::Address([1; 20]),
            to: x402_evm::Address([2; 20]),
            value: Amount::from(3),
            valid_after: Amount::from(4),
            valid_before: Amount::from(5),
            nonce: [6; 32],
        };
        let token = x402_evm::Address([3; 20]);
        Authorized { token, authorization, signature: Bytes::copy_from_slice(signature), by_key }
    }

    /// A signature as ERC-6492 wraps it.
    fn wrapped(factory: Address) -> Vec<u8> {
        let parts = (factory, Bytes::from_static(b"make"), Bytes::from_static(b"signed"));
        [parts.abi_encode_params(), ERC6492_SUFFIX.to_vec()].concat()
    }

    #[test]
    fn who_judges_a_signature() {
        let factory = x402_evm::Address([9; 20]);
        let (good, wrapped) = ([7; 65], wrapped(evm(factory)));
        let proof = |signature: &[u8], has_code, factories: &[_]| {
            let proof = Proof::new(&authorized(signature, true), has_code, factories);
            proof.map(|proof| match proof {
                Proof::Key(_, _, v) => format!("key {v}"),
                Proof::Contract(signature) => format!("contract {}", signature.len()),
                Proof::Undeployed { signature, .. } => format!("undeployed {}", signature.len()),
            })
        };
        assert_eq!(proof(&good, false, &[]).unwrap(), "key 7");
        assert_eq!(proof(&good, true, &[]).unwrap(), "contract 65");
        assert_eq!(proof(&[7; 99], true, &[]).unwrap(), "contract 99");
        for length in [0, 64, 66, 99] {
            let refused = proof(&vec![7; length], false, &[]);
            assert_eq!(refused, Err(Reason::InvalidExactEvmSignature));
        }
        // Without a contract, what is not the key's is nobody's.
        let refused = Proof::new(&authorized(&good, false), false, &[factory]).err();
        assert_eq!(refused, Some(Reason::InvalidExactEvmSignature));
        // A contract that is there already needs no factory.
        assert_eq!(proof(&wrapped, true, &[]).unwrap(), "contract 6");
        assert_eq!(proof(&wrapped, false, &[factory]).unwrap(), "undeployed 6");
        let unlisted = [x402_evm::Address([8; 20])];
        for allowed in [&[] as &[_], &unlisted] {
            let refused = proof(&wrapped, false, allowed);
            assert_eq!(refused, Err(Reason::Eip6492FactoryNotAllowed));
        }
        for junk in [&ERC6492_SUFFIX[..], &[[7; 32], ERC6492_SUFFIX].concat()] {
            assert_eq!(proof(junk, true, &[]), Err(Reason::InvalidExactEvmSignature));
        }
    }

    #[test]
    fn calls_as_the_contracts_know_them() {
        let token = Address::repeat_byte(3);
        let call = |proof| Call::transfer(&authorized(&[], true), proof);
        let key = call(Proof::Key(B256::repeat_byte(7), B256::repeat_byte(8), 27));
        assert_eq!((key.to, &key.data[..4]), (token, &[0xe3, 0xee, 0x16, 0x0e][..]));
        assert_eq!(key.data.len(), 4 + 9 * 32);
        assert_eq!(key.answer(Bytes::from_static(b"any")), Some(Bytes::from_static(b"any")));
        let contract = call(Proof::Contract(Bytes::from_static(b"signed")));
        assert_eq!((contract.to, &contract.data[..4]), (token, &[0xcf, 0x09, 0x29, 0x95][..]));
        let factory = Address::repeat_byte(9);
        let (made, signature) = (Bytes::from_static(b"make"), Bytes::from_static(b"signed"));
        let both = call(Proof::Undeployed { factory, call: made.clone(), signature });
        assert_eq!((both.to, &both.data[..4]), (MULTICALL3, &[0x82, 0xad, 0x56, 0xcb][..]));
        let calls = Multicall3::aggregate3Call::abi_decode(&both.data).unwrap().calls;
        let [first, second] = &calls[..] else { panic!("two calls") };
        assert_eq!((first.target, &first.callData, first.allowFailure), (factory, &made, true));
        let second = (second.target, &second.callData, second.allowFailure);
        assert_eq!(second, (token, &contract.data, false));
        // Where there is no such contract, everything goes through.
        assert_eq!(both.answer(Bytes::new()), None);
        let answer = |successes: &[bool]| {
            let result = |(n, success): (usize, &bool)| Multicall3::Result {
                success: *success,
                returnData: vec![n as u8].into(),
            };
            let results = successes.iter().enumerate().map(result);
            Bytes::from(results.collect::<Vec<_>>().abi_encode())
        };
        let second = Some(Bytes::from_static(&[1]));
        assert_eq!(both.answer(answer(&[true, true])), second);
        assert_eq!(both.answer(answer(&[false, true])), second);
        for wrong in [&[true, false][..], &[true], &[true; 3], &[]] {
            assert_eq!(both.answer(answer(wrong)), None);
        }
    }

    #[test]
    fn whom_the_question_goes_to() {
        let (account, digest) = (Address::repeat_byte(1), [5; 32]);
        let signature = Bytes::from_static(b"signed");
        let key = Proof::Key(B256::ZERO, B256::ZERO, 27);
        assert!(Call::judgement(account, digest, &key).is_none());
        let there = Proof::Contract(signature.clone());
        let there = Call::judgement(account, digest, &there).unwrap();
        assert_eq!((there.to, &there.data[..4]), (account, &ERC1271_MAGIC[..]));
        let (factory, call) = (Address::repeat_byte(9), Bytes::from_static(b"make"));
        let made = Proof::Undeployed { factory, call: call.clone(), signature };
        let made = Call::judgement(account, digest, &made).unwrap();
        let calls = Multicall3::aggregate3Call::abi_decode(&made.data).unwrap().calls;
        let [first, second] = &calls[..] else { panic!("two calls") };
        assert_eq!((first.target, &first.callData), (factory, &call));
        assert_eq!((second.target, &second.callData), (account, &there.data));
    }

    #[test]
    fn what_reverts_say() {
        use Reason::*;
        for (text, reason) in [
            (
                "FiatTokenV2: authorization is expired",
                Some(InvalidExactEvmPayloadAuthorizationValidBefore),
            ),
            (
                "FiatTokenV2: authorization is not yet valid",
                Some(InvalidExactEvmPayloadAuthorizationValidAfter),
            ),
            ("AuthorizationNotYetValid()", Some(InvalidExactEvmPayloadAuthorizationValidAfter)),
            (
                "FiatTokenV2: authorization is used or canceled",
                Some(InvalidExactEvmNonceAlreadyUsed),
            ),
            ("ERC20: transfer amount exceeds balance", Some(InvalidExactEvmInsufficientBalance)),
            ("ERC20InsufficientBalance(0x, 1, 2)", Some(InvalidExactEvmInsufficientBalance)),
            ("FiatTokenV2: invalid signature", Some(InvalidExactEvmSignature)),
            ("Pausable: paused", None),
            ("balance exceeds transfer", None),
            ("", None),
        ] {
            assert_eq!(reason_of(text), reason, "{text}");
        }
        let data = Revert { reason: "why".into() }.abi_encode();
        assert_eq!(revert_text(&data), Some("why".into()));
        assert_eq!(revert_text(&data[..40]), None);
    }
}
