//! Payments by EIP-3009, authorised by a key or by a smart wallet.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use alloy_sol_types::{SolCall, SolEvent};
use x402_core::crypto::{Recover, RecoverableSignature};
use x402_core::{Reason, Unproven};
use x402_evm::{Address, Authorization, Eip3009Payment, assets, eip712};

use super::contract::{evm, word};
use super::settlement::{
    Authorized, Call, Domain, End, Event, Judge, Log, OnEvm, Question, Reasons, Settlement, Signed,
};
use crate::crypto::Recovery;
use crate::scheme::Eip3009Contract;

alloy_sol_types::sol! {
    interface Token {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

        function name() external view returns (string);
        function version() external view returns (string);
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
}

/// The official facilitator's codes.
const REASONS: Reasons = Reasons {
    signature: Reason::InvalidExactEvmSignature,
    expired: Reason::InvalidExactEvmPayloadAuthorizationValidBefore,
    used: Reason::InvalidExactEvmNonceAlreadyUsed,
    not_supported: Reason::InvalidExactEvmEip3009NotSupported,
    balance: Reason::InvalidExactEvmInsufficientBalance,
    simulation: Reason::InvalidExactEvmTransactionSimulationFailed,
    failed: Reason::InvalidExactEvmTransactionFailed,
    event: Reason::InvalidExactEvmTransferEventMismatch,
};

/// The texts of reverts, as the official facilitator reads them.
const REVERTS: &[(&[&str], Reason)] = &[
    (&["authorization", "expired"], REASONS.expired),
    (&["authorization", "valid before"], REASONS.expired),
    (&["authorization", "not", "valid"], Reason::InvalidExactEvmPayloadAuthorizationValidAfter),
    (&["authorization", "used"], REASONS.used),
    (&["transfer", "exceeds", "balance"], REASONS.balance),
    (&["insufficient", "balance"], REASONS.balance),
    (&["invalid", "signature"], REASONS.signature),
    (&["signermismatch"], REASONS.signature),
];

impl OnEvm for Eip3009Payment {
    fn settlement(&self) -> Settlement {
        let signature = self.signature.to_bytes().to_vec();
        settlement(self.chain_id, self.asset, self.authorization, signature, true)
    }
}

/// As above, with a signature that the payer's contract judges.
impl OnEvm for Unproven<Eip3009Contract> {
    fn settlement(&self) -> Settlement {
        let payment = self.as_unproven();
        let (chain_id, token) = (payment.chain_id(), payment.asset());
        let signature = payment.signature().to_vec();
        settlement(chain_id, token, *payment.authorization(), signature, false)
    }
}

fn settlement(
    chain_id: u64,
    token: Address,
    authorization: Authorization,
    signature: Vec<u8>,
    by_key: bool,
) -> Settlement {
    let Authorization { from, value, valid_before, nonce, .. } = authorization;
    let known = assets::find(chain_id, token);
    let domain = known.map_or(Domain::Of(token), |known| Domain::Separator(known.domain_separator));
    let used = event(token, Token::AuthorizationUsed::SIGNATURE_HASH, &authorization);
    let cancelled = event(token, Token::AuthorizationCanceled::SIGNATURE_HASH, &authorization);
    let logged =
        vec![vec![used.topics[0], cancelled.topics[0]], vec![address_word(from)], vec![nonce]];
    let paid = transfer_event(token, &authorization);
    let state = Token::authorizationStateCall { authorizer: evm(from), nonce: B256::new(nonce) }
        .abi_encode();
    let read = Token::authorizationStateCall::abi_decode_returns_validate;
    let end = {
        let paid = paid.clone();
        Arc::new(move |logs: &[Log]| end(logs, &paid, &used, &cancelled))
    };
    let names = names(chain_id, token, authorization, &signature, by_key);
    Settlement::Authorized(Box::new(Authorized {
        chain_id,
        payer: from,
        token,
        value,
        valid_before,
        contract: token,
        nonce,
        sender: None,
        deployed: vec![(token, Reason::AssetNotDeployedContract)],
        signed: Signed {
            signature,
            by_key,
            domain,
            digest: Arc::new(move |separator| eip712::transfer_digest(separator, &authorization)),
        },
        call: Arc::new(move |judge| Call { to: token, data: transfer(&authorization, judge) }),
        used: Question {
            calls: vec![Call { to: token, data: state }],
            meaning: Arc::new(move |answers| read(answers.first()?.as_ref()?).ok()),
        },
        causes: vec![names],
        paid,
        logged_by: token,
        logged,
        end,
        reverts: REVERTS,
        reasons: REASONS,
    }))
}

fn address_word(address: Address) -> [u8; 32] {
    evm(address).into_word().0
}

fn event(token: Address, signature: B256, authorization: &Authorization) -> Event {
    let topics = vec![signature.0, address_word(authorization.from), authorization.nonce];
    Event { contract: token, topics, data: Vec::new() }
}

fn transfer_event(token: Address, authorization: &Authorization) -> Event {
    let Authorization { from, to, value, .. } = *authorization;
    let topics = vec![Token::Transfer::SIGNATURE_HASH.0, address_word(from), address_word(to)];
    Event { contract: token, topics, data: value.to_be_bytes().to_vec() }
}

fn transfer(authorization: &Authorization, judge: &Judge) -> Vec<u8> {
    let (from, to) = (evm(authorization.from), evm(authorization.to));
    let (value, nonce) = (word(authorization.value), B256::new(authorization.nonce));
    let (after, before) = (word(authorization.valid_after), word(authorization.valid_before));
    match judge {
        Judge::Key(signature) => {
            let (r, s) = (B256::from_slice(&signature[..32]), B256::from_slice(&signature[32..64]));
            let v = signature[64];
            Token::transferWithAuthorization_0Call {
                from,
                to,
                value,
                validAfter: after,
                validBefore: before,
                nonce,
                v,
                r,
                s,
            }
            .abi_encode()
        }
        Judge::Contract(signature) => Token::transferWithAuthorization_1Call {
            from,
            to,
            value,
            validAfter: after,
            validBefore: before,
            nonce,
            signature: Bytes::copy_from_slice(signature),
        }
        .abi_encode(),
    }
}

/// Returns the end of an authorization, by the logs of a transaction.
///
/// A transaction can use several authorizations of one payer to one payee, of one amount. Each has a transfer
/// of its own, which tokens log right after the use. A transfer elsewhere may belong to another
/// authorization, and proves nothing.
fn end(logs: &[Log], paid: &Event, used: &Event, cancelled: &Event) -> End {
    let mut pairs = logs.windows(2).filter_map(|pair| <&[Log; 2]>::try_from(pair).ok());
    if pairs.any(|[end, next]| used.is(end) && paid.is(next)) {
        return End::Paid;
    }
    let cancelled = logs.iter().any(|log| cancelled.is(log));
    let used = logs.iter().any(|log| used.is(log));
    // A token may log in another order.
    let transferred = logs.iter().any(|log| paid.is(log));
    if cancelled || used && !transferred { End::Spent } else { End::Unclear }
}

/// Returns the question whether the token has the name and version for which the payment was signed.
///
/// A known token was compared with its table before. For another token, the signature decides: it is the
/// payer's only under the right name and version.
fn names(
    chain_id: u64,
    token: Address,
    authorization: Authorization,
    signature: &[u8],
    by_key: bool,
) -> Question<Result<(), Reason>> {
    let signature = RecoverableSignature::from_bytes(signature).ok().filter(|_| by_key);
    let call = |data| Call { to: token, data };
    let calls =
        vec![call(Token::nameCall {}.abi_encode()), call(Token::versionCall {}.abi_encode())];
    let meaning = move |answers: &[Option<Vec<u8>>]| {
        let [name, version] = answers else { return Ok(()) };
        let read = Token::nameCall::abi_decode_returns_validate;
        let name = name.as_ref().and_then(|name| read(name).ok());
        let read = Token::versionCall::abi_decode_returns_validate;
        let version = version.as_ref().and_then(|version| read(version).ok());
        let name_mismatch = Err(Reason::InvalidExactEvmTokenNameMismatch);
        let version_mismatch = Err(Reason::InvalidExactEvmTokenVersionMismatch);
        if let Some(known) = assets::find(chain_id, token) {
            return match (name, version) {
                (Some(name), _) if name != known.name => name_mismatch,
                (_, Some(version)) if version != known.version => version_mismatch,
                _ => Ok(()),
            };
        }
        let Some(((name, version), signature)) = name.zip(version).zip(signature) else {
            return Ok(());
        };
        let signed = |version: &str| {
            let separator = eip712::domain_separator(&name, version, chain_id, token);
            let digest = eip712::transfer_digest(&separator, &authorization);
            Recovery.recover(&digest, &signature) == Some(authorization.from.0)
        };
        if signed(&version) {
            Ok(())
        } else if ["1", "2"].into_iter().any(signed) {
            version_mismatch
        } else {
            name_mismatch
        }
    };
    Question { calls, meaning: Arc::new(meaning) }
}

#[cfg(test)]
pub(super) mod tests {
    use alloy_primitives::U256;
    use x402_core::Amount;

    use super::*;

    /// A payment of 3 by [1; 20] to [2; 20] in the token [3; 20].
    pub(crate) fn authorized(signature: &[u8], by_key: bool) -> Authorized {
        let authorization = Authorization {
            from: Address([1; 20]),
            to: Address([2; 20]),
            value: Amount::from(3),
            valid_after: Amount::from(4),
            valid_before: Amount::from(5),
            nonce: [6; 32],
        };
        let settlement = settlement(1, Address([3; 20]), authorization, signature.to_vec(), by_key);
        match settlement {
            Settlement::Authorized(payment) => *payment,
            Settlement::Made(_) => panic!("nothing was made"),
        }
    }

    #[test]
    fn calls_as_tokens_know_them() {
        let payment = authorized(&[], true);
        let mut signature = [7; 65];
        signature[64] = 27;
        let key = (payment.call)(&Judge::Key(signature));
        assert_eq!((key.to, &key.data[..4]), (payment.token, &[0xe3, 0xee, 0x16, 0x0e][..]));
        assert_eq!(key.data.len(), 4 + 9 * 32);
        assert_eq!(U256::from_be_slice(&key.data[4 + 6 * 32..4 + 7 * 32]), U256::from(27));
        let contract = (payment.call)(&Judge::Contract(b"signed".to_vec()));
        assert_eq!(
            (contract.to, &contract.data[..4]),
            (payment.token, &[0xcf, 0x09, 0x29, 0x95][..])
        );
    }

    #[test]
    fn what_reverts_say() {
        use Reason::*;
        let payment = authorized(&[], true);
        for (text, reason) in [
            (
                "FiatTokenV2: authorization is expired",
                InvalidExactEvmPayloadAuthorizationValidBefore,
            ),
            (
                "FiatTokenV2: authorization is not yet valid",
                InvalidExactEvmPayloadAuthorizationValidAfter,
            ),
            ("AuthorizationNotYetValid()", InvalidExactEvmPayloadAuthorizationValidAfter),
            ("FiatTokenV2: authorization is used or canceled", InvalidExactEvmNonceAlreadyUsed),
            ("ERC20: transfer amount exceeds balance", InvalidExactEvmInsufficientBalance),
            ("ERC20InsufficientBalance(0x, 1, 2)", InvalidExactEvmInsufficientBalance),
            ("FiatTokenV2: invalid signature", InvalidExactEvmSignature),
            ("Pausable: paused", InvalidExactEvmTransactionFailed),
            ("balance exceeds transfer", InvalidExactEvmTransactionFailed),
            ("", InvalidExactEvmTransactionFailed),
        ] {
            assert_eq!(payment.reason_of(text), reason, "{text}");
        }
    }
}
