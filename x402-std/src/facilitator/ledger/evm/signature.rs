//! Signatures that a contract at the payer's address judges (ERC-1271), also before its deployment
//! (ERC-6492).

use alloy_primitives::{Address, B256, Bytes, address};
use alloy_sol_types::{SolCall, SolValue};
use x402_core::Reason;

use super::contract::{Calling, evm};
use super::settlement::{Authorized, Judge};

/// This contract has the same address on every chain that has it. <https://github.com/mds1/multicall>
const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");

/// The last 32 bytes of a signature with instructions to deploy its contract first (ERC-6492).
const ERC6492_SUFFIX: [u8; 32] = [
    0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92,
    0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92, 0x64, 0x92,
];

/// The answer of an account's contract to a valid signature (ERC-1271).
const ERC1271_MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];

alloy_sol_types::sol! {
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

/// The judge of a payment's signature, and the call that must come first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) judge: Judge,
    /// The factory whose call makes the payer's contract.
    made_by: Option<(Address, Bytes)>,
}

impl Proof {
    /// Makes one from a payment's signature. With `has_code`, the contract at the payer's address is the only
    /// judge, even if the account also has a key (EIP-7702).
    ///
    /// # Errors
    /// The scheme's reason for a bad signature, or [`Reason::Eip6492FactoryNotAllowed`].
    pub(super) fn new(
        payment: &Authorized,
        has_code: bool,
        factories: &[x402_evm::Address],
    ) -> Result<Self, Reason> {
        let invalid = payment.reasons.signature;
        let signature = &payment.signed.signature;
        let contract = |signature: &[u8]| Judge::Contract(signature.to_vec());
        if let Some(wrapped) = signature.strip_suffix(&ERC6492_SUFFIX) {
            let parts = <(Address, Bytes, Bytes)>::abi_decode_params_validate(wrapped);
            let (factory, call, signature) = parts.map_err(|_| invalid)?;
            let judge = contract(&signature);
            if has_code {
                return Ok(Self { judge, made_by: None });
            }
            if !factories.iter().any(|allowed| evm(*allowed) == factory) {
                return Err(Reason::Eip6492FactoryNotAllowed);
            }
            return Ok(Self { judge, made_by: Some((factory, call)) });
        }
        let judge = match <[u8; 65]>::try_from(&signature[..]) {
            _ if has_code => contract(signature),
            Ok(signature) if payment.signed.by_key => Judge::Key(signature),
            _ => return Err(invalid),
        };
        Ok(Self { judge, made_by: None })
    }

    /// Returns the call that makes the payment.
    pub(super) fn call(&self, payment: &Authorized) -> Calling {
        let call = (payment.call)(&self.judge);
        self.after(Calling::to(evm(call.to), call.data))
    }

    /// Returns the question to the payer's contract, existing or deployed first, whether the signature is
    /// valid. `None` if the judge is a key.
    pub(super) fn question(&self, account: x402_evm::Address, digest: [u8; 32]) -> Option<Calling> {
        let Judge::Contract(signature) = &self.judge else { return None };
        let (digest, signature) = (B256::new(digest), signature.clone().into());
        let ask = Account::isValidSignatureCall { digest, signature }.abi_encode();
        Some(self.after(Calling::to(evm(account), ask)))
    }

    /// Returns a call after the factory's, in one transaction, which fails if the last call fails.
    fn after(&self, last: Calling) -> Calling {
        let Some((factory, call)) = self.made_by.clone() else { return last };
        let calls = vec![
            // If somebody else has deployed the contract, only this call fails.
            Multicall3::Call3 { target: factory, allowFailure: true, callData: call },
            Multicall3::Call3 { target: last.to, allowFailure: false, callData: last.data },
        ];
        let data = Multicall3::aggregate3Call { calls }.abi_encode().into();
        Calling { to: MULTICALL3, data, several: true }
    }
}

/// Returns the contract's answer, from the result of [`Multicall3`]. On a chain without it, every call
/// succeeds with an empty answer.
pub(super) fn last_answer(answer: &[u8]) -> Option<Bytes> {
    let results = Multicall3::aggregate3Call::abi_decode_returns_validate(answer).ok()?;
    let [_, last] = <[_; 2]>::try_from(results).ok()?;
    last.success.then_some(last.returnData)
}

/// Returns whether an account's contract accepted a signature.
pub(super) fn is_valid(answer: &[u8]) -> bool {
    answer.len() == 32 && answer.starts_with(&ERC1271_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::super::eip3009::tests::authorized;
    use super::*;

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
            let proof = Proof::new(&authorized(signature, true), has_code, factories)?;
            let made = if proof.made_by.is_some() { "undeployed" } else { "contract" };
            Ok(match proof.judge {
                Judge::Key(signature) => format!("key {}", signature[64]),
                Judge::Contract(signature) => format!("{made} {}", signature.len()),
            })
        };
        assert_eq!(proof(&good, false, &[]).unwrap(), "key 7");
        assert_eq!(proof(&good, true, &[]).unwrap(), "contract 65");
        assert_eq!(proof(&[7; 99], true, &[]).unwrap(), "contract 99");
        for length in [0, 64, 66, 99] {
            let refused = proof(&vec![7; length], false, &[]);
            assert_eq!(refused, Err(Reason::InvalidExactEvmSignature));
        }
        // Without a contract, only the key can have signed.
        let refused = Proof::new(&authorized(&good, false), false, &[factory]).err();
        assert_eq!(refused, Some(Reason::InvalidExactEvmSignature));
        // An existing contract needs no factory.
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
        let payment = authorized(&[], true);
        let token = Address::repeat_byte(3);
        let (made, signature) = (Bytes::from_static(b"make"), b"signed".to_vec());
        let factory = Address::repeat_byte(9);
        let proof = |judge, made_by| Proof { judge, made_by };
        let there = proof(Judge::Contract(signature.clone()), None);
        let both = proof(Judge::Contract(signature), Some((factory, made.clone())));
        let (alone, both_call) = (there.call(&payment), both.call(&payment));
        assert_eq!((alone.to, alone.several), (token, false));
        assert_eq!(
            (both_call.to, &both_call.data[..4]),
            (MULTICALL3, &[0x82, 0xad, 0x56, 0xcb][..])
        );
        let calls = Multicall3::aggregate3Call::abi_decode(&both_call.data).unwrap().calls;
        let [first, second] = &calls[..] else { panic!("two calls") };
        assert_eq!((first.target, &first.callData, first.allowFailure), (factory, &made, true));
        let second = (second.target, &second.callData, second.allowFailure);
        assert_eq!(second, (token, &alone.data, false));
        // On a chain without Multicall3, every call succeeds.
        assert_eq!(both_call.answer(Bytes::new()), None);
        let answer = |successes: &[bool]| {
            let result = |(n, success): (usize, &bool)| Multicall3::Result {
                success: *success,
                returnData: vec![n as u8].into(),
            };
            let results = successes.iter().enumerate().map(result);
            Bytes::from(results.collect::<Vec<_>>().abi_encode())
        };
        let second = Some(Bytes::from_static(&[1]));
        assert_eq!(both_call.answer(answer(&[true, true])), second);
        assert_eq!(both_call.answer(answer(&[false, true])), second);
        for wrong in [&[true, false][..], &[true], &[true; 3], &[]] {
            assert_eq!(both_call.answer(answer(wrong)), None);
        }
        // The question goes to the payer's account, existing or deployed first.
        let (account, digest) = (x402_evm::Address([1; 20]), [5; 32]);
        assert!(proof(Judge::Key([27; 65]), None).question(account, digest).is_none());
        let asked = there.question(account, digest).unwrap();
        assert_eq!((asked.to, &asked.data[..4]), (evm(account), &ERC1271_MAGIC[..]));
        let asked_both = both.question(account, digest).unwrap();
        let calls = Multicall3::aggregate3Call::abi_decode(&asked_both.data).unwrap().calls;
        let [first, second] = &calls[..] else { panic!("two calls") };
        assert_eq!((first.target, &first.callData), (factory, &made));
        assert_eq!((second.target, &second.callData), (evm(account), &asked.data));
    }
}
