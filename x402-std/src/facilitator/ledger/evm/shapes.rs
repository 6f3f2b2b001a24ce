//! Schemes that are not built yet, as settlements. They show that the shape of [`Settlement`] fits them.
//!
//! | scheme | what it needs of the shape |
//! |---|---|
//! | `exact` by Permit2 | two contracts with code, a nonce that is a bit of a word, causes in an order, no event of its own |
//! | `upto` | a call that one sender alone may make, an amount below what was signed |
//! | escrow (deposit of a channel) | a payee that is a contract, another event |
//! | vouchers (claim of a channel) | nothing of the payer's moves, the contract counts upwards, no end |
//! | auth-capture | two payments of one order: `authorize`, then `capture` by the operator |
//!
//! An extension that adds a call before (EIP-2612's permit) is another [`call`](Authorized::call) of the same
//! proxy. One that adds a transaction before (an approval) sends the payer's own bytes, and needs a field
//! beside `call`. A scheme whose price is known after the handler makes its payment anew from the
//! requirements of the settlement. The payment then has the amount to send, and the signature has the
//! maximum.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use x402_core::{Amount, Reason};
use x402_evm::Address;

use super::contract::{evm, word};
use super::eip3009::tests::authorized;
use super::settlement::{
    Authorized, Call, Domain, End, Event, Judge, Log, Question, Reasons, Settlement, Signed,
};

alloy_sol_types::sol! {
    struct Permitted { address token; uint256 amount; }
    struct Permit { Permitted permitted; uint256 nonce; uint256 deadline; }
    struct ExactWitness { address to; uint256 validAfter; }
    struct UptoWitness { address to; address facilitator; uint256 validAfter; }

    interface Exact {
        function PERMIT2() external view returns (address);
        function settle(Permit permit, address owner, ExactWitness witness, bytes signature) external;
    }
    interface Upto {
        function settle(Permit permit, uint256 amount, address owner, UptoWitness witness, bytes signature)
            external;
    }
    interface Permit2 {
        function nonceBitmap(address owner, uint256 word) external view returns (uint256);
    }
    interface Erc20 {
        function allowance(address owner, address spender) external view returns (uint256);
    }
    interface Channels {
        function channels(bytes32 id) external view returns (uint128 balance, uint128 totalClaimed);
        function deposit(bytes config, uint128 amount, address collector, bytes data) external;
        function claim(bytes rows) external;
    }
    interface AuthCapture {
        function authorize(bytes info, uint256 amount, address collector, bytes data) external;
        function paymentState(bytes32 id) external view returns (bool hasCollected, uint120 capturable, uint120 refundable);
    }
}

const OWNER: Address = Address([1; 20]);
const PAYEE: Address = Address([2; 20]);
const TOKEN: Address = Address([3; 20]);
const PERMIT2: Address = Address([4; 20]);
const PROXY: Address = Address([5; 20]);
const FACILITATOR: Address = Address([6; 20]);
const ESCROW: Address = Address([7; 20]);

const REASONS: Reasons = Reasons {
    // Permit2's own codes come with their scheme. These stand for them.
    signature: Reason::InvalidExactEvmSignature,
    expired: Reason::PaymentExpired,
    used: Reason::InvalidExactEvmNonceAlreadyUsed,
    not_supported: Reason::UnsupportedPayloadType,
    balance: Reason::InvalidExactEvmInsufficientBalance,
    simulation: Reason::InvalidExactEvmTransactionSimulationFailed,
    failed: Reason::InvalidExactEvmTransactionFailed,
    event: Reason::InvalidExactEvmTransferEventMismatch,
};

fn topic(address: Address) -> [u8; 32] {
    evm(address).into_word().0
}

fn transfer(token: Address, from: Address, to: Address, value: Amount) -> Event {
    let topics = vec![keccak256("Transfer(address,address,uint256)").0, topic(from), topic(to)];
    Event { contract: token, topics, data: value.to_be_bytes().to_vec() }
}

fn signature(judge: &Judge) -> Bytes {
    match judge {
        Judge::Key(signature) => signature.to_vec().into(),
        Judge::Contract(signature) => signature.clone().into(),
    }
}

fn number(answers: &[Option<Vec<u8>>], at: usize) -> Option<U256> {
    U256::abi_decode(answers.get(at)?.as_ref()?.get(..32)?).ok()
}

/// Makes the common part of payments by Permit2. Permit2 does not log the use of a nonce: the token's log of
/// a transfer to the payee shows the user.
fn permit2(
    value: Amount,
    paid: Amount,
    call: impl Fn(&Judge) -> Vec<u8> + Send + Sync + 'static,
) -> Authorized {
    let nonce = [9; 32];
    let (nonce_word, bit) = (U256::from_be_bytes(nonce) >> 8, usize::from(nonce[31]));
    let bitmap = Permit2::nonceBitmapCall { owner: evm(OWNER), word: nonce_word }.abi_encode();
    let allowance = Erc20::allowanceCall { owner: evm(OWNER), spender: evm(PERMIT2) }.abi_encode();
    let event = transfer(TOKEN, OWNER, PAYEE, paid);
    let logged = event.topics.iter().map(|topic| vec![*topic]).collect();
    let end = {
        let event = event.clone();
        Arc::new(move |logs: &[Log]| match logs.iter().any(|log| event.is(log)) {
            true => End::Paid,
            false => End::Unclear,
        })
    };
    Authorized {
        chain_id: 8453,
        payer: OWNER,
        token: TOKEN,
        value,
        valid_before: Amount::from(2_000_000_000),
        contract: PERMIT2,
        nonce,
        sender: None,
        deployed: vec![(TOKEN, Reason::AssetNotDeployedContract)],
        signed: Signed {
            signature: vec![7; 65],
            by_key: true,
            domain: Domain::Separator([8; 32]),
            digest: Arc::new(|separator| keccak256(separator).0),
        },
        call: Arc::new(move |judge| Call { to: PROXY, data: call(judge) }),
        used: Question {
            calls: vec![Call { to: PERMIT2, data: bitmap }],
            meaning: Arc::new(move |answers| Some(number(answers, 0)?.bit(bit))),
        },
        causes: vec![
            Question {
                calls: vec![Call { to: PROXY, data: Exact::PERMIT2Call {}.abi_encode() }],
                meaning: Arc::new(|answers| {
                    let there = number(answers, 0) == Some(U256::from_be_bytes(topic(PERMIT2)));
                    there.then_some(()).ok_or(Reason::UnsupportedPayloadType)
                }),
            },
            Question {
                calls: vec![Call { to: TOKEN, data: allowance }],
                meaning: Arc::new(move |answers| {
                    let enough = number(answers, 0).is_some_and(|allowed| allowed >= word(value));
                    enough.then_some(()).ok_or(Reason::InvalidExactEvmInsufficientBalance)
                }),
            },
        ],
        paid: event,
        logged_by: TOKEN,
        logged,
        end,
        reverts: &[(&["invalidnonce"], Reason::InvalidExactEvmNonceAlreadyUsed)],
        reasons: REASONS,
    }
}

fn permit(value: Amount) -> Permit {
    let permitted = Permitted { token: evm(TOKEN), amount: word(value) };
    let nonce = U256::from_be_bytes([9; 32]);
    Permit { permitted, nonce, deadline: U256::from(2_000_000_000u64) }
}

fn exact_by_permit2(value: Amount) -> Settlement {
    Settlement::Authorized(Box::new(permit2(value, value, move |judge| {
        let witness = ExactWitness { to: evm(PAYEE), validAfter: U256::ZERO };
        let (permit, owner, signature) = (permit(value), evm(OWNER), signature(judge));
        Exact::settleCall { permit, owner, witness, signature }.abi_encode()
    })))
}

/// The settlement has the price, and the signature the ceiling.
fn upto(ceiling: Amount, price: Amount) -> Settlement {
    let mut payment = permit2(ceiling, price, move |judge| {
        let (to, facilitator) = (evm(PAYEE), evm(FACILITATOR));
        let witness = UptoWitness { to, facilitator, validAfter: U256::ZERO };
        let (permit, owner, signature) = (permit(ceiling), evm(OWNER), signature(judge));
        Upto::settleCall { permit, amount: word(price), owner, witness, signature }.abi_encode()
    });
    payment.sender = Some(FACILITATOR);
    Settlement::Authorized(Box::new(payment))
}

/// A deposit into a channel: EIP-3009's `receiveWithAuthorization` behind another call. The token counts the
/// authorization, and the escrow receives.
fn escrow_deposit(value: Amount) -> Settlement {
    let inner = authorized(&[7; 65], true);
    let paid = transfer(TOKEN, OWNER, ESCROW, value);
    let call = move |judge: &Judge| {
        let (config, collector) = (Bytes::new(), evm(PROXY));
        let (amount, data) = (word(value).saturating_to(), signature(judge));
        let data = Channels::depositCall { config, amount, collector, data }.abi_encode();
        Call { to: ESCROW, data }
    };
    let deployed = [TOKEN, ESCROW, PROXY].map(|it| (it, Reason::AssetNotDeployedContract)).to_vec();
    let call = Arc::new(call);
    Settlement::Authorized(Box::new(Authorized { value, deployed, call, paid, ..inner }))
}

/// A claim of the sum of vouchers. Most payments settle nothing, and one claim moves the sum of many. It is
/// used up when the contract's count reaches its sum, and it never ends.
fn claim(total: u128) -> Settlement {
    let id = [9; 32];
    let state = Channels::channelsCall { id: B256::new(id) }.abi_encode();
    let claimed = Event {
        contract: ESCROW,
        topics: vec![keccak256("Claimed(bytes32,uint128)").0, id],
        data: U256::from(total).abi_encode(),
    };
    Settlement::Authorized(Box::new(Authorized {
        // The escrow has the money already.
        value: Amount::ZERO,
        valid_before: Amount::MAX,
        contract: ESCROW,
        nonce: keccak256((B256::new(id), U256::from(total)).abi_encode()).0,
        call: Arc::new(|judge| {
            let rows = signature(judge);
            Call { to: ESCROW, data: Channels::claimCall { rows }.abi_encode() }
        }),
        used: Question {
            calls: vec![Call { to: ESCROW, data: state }],
            meaning: Arc::new(move |answers| {
                let words = answers.first()?.as_ref()?;
                Some(U256::abi_decode(words.get(32..64)?).ok()? >= U256::from(total))
            }),
        },
        causes: Vec::new(),
        logged_by: ESCROW,
        logged: vec![vec![claimed.topics[0]], vec![id]],
        end: {
            let claimed = claimed.clone();
            Arc::new(move |logs| match logs.iter().any(|log| claimed.is(log)) {
                true => End::Paid,
                false => End::Unclear,
            })
        },
        paid: claimed,
        ..permit2(Amount::ZERO, Amount::ZERO, |_| Vec::new())
    }))
}

/// The first half of an order: the payer's money is held. `capture` is a second payment, with the operator as
/// [`sender`](Authorized::sender) and the order's state as its [`used`](Authorized::used).
fn authorize(value: Amount) -> Settlement {
    let id = [9; 32];
    let state = AuthCapture::paymentStateCall { id: B256::new(id) }.abi_encode();
    let call = move |judge: &Judge| {
        let (info, amount) = (Bytes::new(), word(value));
        let (collector, data) = (evm(PROXY), signature(judge));
        let data = AuthCapture::authorizeCall { info, amount, collector, data }.abi_encode();
        Call { to: ESCROW, data }
    };
    let used = Question {
        calls: vec![Call { to: ESCROW, data: state }],
        meaning: Arc::new(|answers: &[Option<Vec<u8>>]| Some(!number(answers, 0)?.is_zero())) as _,
    };
    let paid = transfer(TOKEN, OWNER, ESCROW, value);
    let (sender, call) = (Some(FACILITATOR), Arc::new(call));
    let inner = authorized(&[7; 65], true);
    Settlement::Authorized(Box::new(Authorized { value, sender, call, used, paid, ..inner }))
}

#[test]
fn the_shape_holds_schemes_to_come() {
    let judge = Judge::Key([27; 65]);
    let (ceiling, price) = (Amount::from(100), Amount::from(40));
    let of = |settlement| match settlement {
        Settlement::Authorized(payment) => *payment,
        Settlement::Made(_) => panic!("nothing was made"),
    };
    for (payment, selector, to) in [
        (exact_by_permit2(ceiling), [0x13, 0xcd, 0x3b, 0x53], PROXY),
        (upto(ceiling, price), [0xff, 0x11, 0xe7, 0xb4], PROXY),
        (escrow_deposit(ceiling), Channels::depositCall::SELECTOR, ESCROW),
        (claim(100), Channels::claimCall::SELECTOR, ESCROW),
        (authorize(ceiling), AuthCapture::authorizeCall::SELECTOR, ESCROW),
    ] {
        let payment = of(payment);
        let call = (payment.call)(&judge);
        assert_eq!((&call.data[..4], call.to), (&selector[..], to));
    }
    // A nonce of Permit2 is one bit of a word.
    let payment = of(exact_by_permit2(ceiling));
    let word = |bit: usize| Some((U256::ONE << bit).abi_encode());
    assert_eq!((payment.used.meaning)(&[word(9)]), Some(true));
    assert_eq!((payment.used.meaning)(&[word(10)]), Some(false));
    assert_eq!((payment.used.meaning)(&[None]), None);
    // The proxy first, then the allowance.
    let [proxy, allowance] = &payment.causes[..] else { panic!("two causes") };
    assert_eq!((proxy.meaning)(&[None]), Err(Reason::UnsupportedPayloadType));
    assert_eq!((proxy.meaning)(&[Some(topic(PERMIT2).to_vec())]), Ok(()));
    assert!((allowance.meaning)(&[Some(U256::from(99).abi_encode())]).is_err());
    assert_eq!((allowance.meaning)(&[Some(U256::from(100).abi_encode())]), Ok(()));
    // `upto` moves the price rather than the ceiling, and only one account can send it.
    let payment = of(upto(ceiling, price));
    assert_eq!((payment.sender, payment.value), (Some(FACILITATOR), ceiling));
    let log = |value: Amount| {
        let topics = transfer(TOKEN, OWNER, PAYEE, value).topics;
        [Log::new(TOKEN, &topics, value.to_be_bytes().to_vec())]
    };
    assert_eq!((payment.end)(&log(price)), End::Paid);
    assert_eq!((payment.end)(&log(ceiling)), End::Unclear);
    // A voucher is used up once the contract's count reaches it, by this claim or by a later one.
    let payment = of(claim(100));
    let counted = |total: u64| Some((U256::from(500), U256::from(total)).abi_encode());
    for (total, used) in [(99, false), (100, true), (101, true)] {
        assert_eq!((payment.used.meaning)(&[counted(total)]), Some(used));
    }
}

/// The ledger lists a scheme from outside by its name, on the same chains.
#[test]
fn another_scheme_is_listed() {
    use super::{EvmChain, EvmLedger};
    use crate::facilitator::ledger::Networks as _;
    use crate::scheme::ExactOnEvm;
    use x402_core::crypto::secp256k1::LocalKey;

    let nodes = crate::rpc::Nodes::new(["http://127.0.0.1:1"]).unwrap();
    let ledger = EvmLedger::<LocalKey>::new().with_chain(EvmChain::new(8453, nodes), Vec::new());
    let listed = |kinds: Vec<crate::message::SupportedKind>| -> Vec<_> {
        kinds.iter().map(|kind| format!("{} {}", kind.scheme, kind.network)).collect()
    };
    assert_eq!(listed(ledger.kinds()), ["exact eip155:8453", "exact base"]);
    let ledger = ledger.with_scheme(&["upto"], ExactOnEvm::default());
    assert_eq!(listed(ledger.kinds()), ["upto eip155:8453", "upto base"]);
}
