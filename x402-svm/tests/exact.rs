//! Every rule of `exact` on Solana, each broken alone.
#![allow(missing_docs)]

use core::num::NonZeroU32;

use x402_core::buyer::Wallet;
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::{Signer, Verify, sha256};
use x402_core::json::RawJson;
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{EncodeError, Message as _, ParseError, Payment, Reason, base64, gate};
use x402_svm::message::{
    Config, Draft, Header, Instruction, Message, MessageVersion, TRANSACTION_BYTES,
    TRANSACTION_V1_BYTES, Transaction,
};
use x402_svm::programs::{
    ASSOCIATED_TOKEN, COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TOKEN, TransferChecked,
};
use x402_svm::{
    Address, Asset, DecodeBase64, ExactSvm, ExactSvmWallet, Extensions, Inputs, Limits, Mint,
    PAYLOAD_BYTES, PAYMENT_BYTES, REMEMBER_SECONDS, Rules, SvmPayment, SvmUnsigned, TokenProgram,
    UnsignedError, associated_token_address, base58, offered_blockhash,
};

const NOW: u64 = 1_795_300_000;
const NETWORK: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
const DEVNET: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
const MAINNET: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
const USDC: &str = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
/// A Token-2022 mint that the library knows.
const PYUSD: &str = "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM";
/// A mint that it does not know.
const UNLISTED: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const FEE_PAYER: &str = "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9";
const PAY_TO: &str = "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse";
const BLOCKHASH: &str = "CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky";
const SYSTEM: Address = Address([0; 32]);
const TABLE: Address = Address([7; 32]);

// Answers, as `code` writes them.
const VALID: &str = "VALID";
const UNDECODED: &str = ".transaction_could_not_be_decoded";
const LENGTH: &str = ".transaction_instructions_length";
const LIMIT: &str = ".transaction_instructions_compute_limit_instruction";
const LIMIT_TOO_HIGH: &str = ".transaction_instructions_compute_limit_instruction_too_high";
const PRICE: &str = ".transaction_instructions_compute_price_instruction";
const PRICE_TOO_HIGH: &str = ".transaction_instructions_compute_price_instruction_too_high";
const NO_TRANSFER: &str = ".no_transfer_instruction";
const FEE_PAYER_PAYS: &str = ".transaction_fee_payer_transferring_funds";

/// The reason of a refusal, its usual prefix as a dot.
fn code<T>(verdict: Result<T, Reason>) -> String {
    let code = verdict.map_or_else(Reason::as_str, |_| VALID);
    match code.strip_prefix("invalid_exact_svm_payload_") {
        Some(rest) => format!(".{rest}"),
        None => code.into(),
    }
}

/// Fee payer, payer and payee have the seeds of the recordings: 1, 2 and 3. 5 is somebody else.
fn key(seed: u8) -> LocalKey {
    LocalKey::from_seed(&[seed; 32])
}

fn address(seed: u8) -> Address {
    Address(Signer::public_key(&key(seed)))
}

fn fee_payer() -> Address {
    address(1)
}

fn payer() -> Address {
    address(2)
}

fn other() -> Address {
    address(5)
}

fn at(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn account_of(owner: Address, program: TokenProgram, mint: &str) -> Address {
    associated_token_address(&Dalek, owner, program, at(mint)).unwrap()
}

/// An offer of 1000, with more in its `extra`: `,"key":value`.
fn offer(extra: &str) -> String {
    format!(
        r#"{{"scheme":"exact","network":"{NETWORK}","amount":"1000","asset":"{USDC}","payTo":"{PAY_TO}","maxTimeoutSeconds":60,"extra":{{"feePayer":"{FEE_PAYER}"{extra}}}}}"#
    )
}

/// The same in version 1 of the protocol.
fn offer_v1(extra: &str) -> String {
    offer(extra)
        .replace(NETWORK, "solana-devnet")
        .replace("amount", "maxAmountRequired")
        .replace("\"asset\"", "\"resource\":\"https://a.example/\",\"asset\"")
}

/// The answer to a payment, given as the JSON of its parts.
fn verify_parts<const BYTES: usize>(
    rules: Rules<'_>,
    accepted: &str,
    offer: &str,
    payload: &str,
) -> Result<SvmPayment, Reason> {
    let offer = PaymentRequirements::parse(offer.as_bytes()).unwrap();
    let named = PaymentRequirements::parse(accepted.as_bytes()).unwrap();
    let payment = if named.v1.is_some() {
        let (scheme, network) = (named.scheme.as_str().unwrap(), named.network);
        format!(
            r#"{{"x402Version":1,"scheme":"{scheme}","network":"{network}","payload":{payload}}}"#
        )
    } else {
        format!(r#"{{"x402Version":2,"accepted":{accepted},"payload":{payload}}}"#)
    };
    let payment = PaymentPayload::parse(payment.as_bytes()).unwrap();
    let scheme = ExactSvm::<Dalek, BYTES>::with_verify(Dalek, rules);
    gate::verify(&scheme, &payment, &offer, NOW).map(gate::Verified::into_payment)
}

fn base64_of(transaction: &[u8]) -> String {
    base64::encode(transaction, &mut [0; 6000]).unwrap().into()
}

fn verify_with(rules: Rules<'_>, offer: &str, transaction: &[u8]) -> Result<SvmPayment, Reason> {
    let payload = format!(r#"{{"transaction":"{}"}}"#, base64_of(transaction));
    verify_parts::<TRANSACTION_V1_BYTES>(rules, offer, offer, &payload)
}

/// Verifies by the default rules.
fn verify(offer: &str, transaction: &[u8]) -> Result<SvmPayment, Reason> {
    verify_with(Rules::default(), offer, transaction)
}

/// An instruction by addresses.
#[derive(Clone)]
struct Call {
    program: Address,
    accounts: Vec<Address>,
    data: Vec<u8>,
}

fn call(program: Address, accounts: &[Address], data: &[u8]) -> Call {
    Call { program, accounts: accounts.to_vec(), data: data.to_vec() }
}

fn memo(text: &[u8]) -> Call {
    call(MEMO, &[], text)
}

fn unit_limit(units: u32) -> Call {
    call(COMPUTE_BUDGET, &[], &[&[2], &units.to_le_bytes()[..]].concat())
}

fn unit_price(price: u64) -> Call {
    call(COMPUTE_BUDGET, &[], &[&[3], &price.to_le_bytes()[..]].concat())
}

/// `AdvanceNonceAccount`, which makes a payment good for ever.
fn advance_nonce() -> Call {
    call(SYSTEM, &[other(), Address([9; 32]), payer()], &[4, 0, 0, 0])
}

/// A transaction by addresses, right at first, to be made wrong.
#[derive(Clone)]
struct Tx {
    version: MessageVersion,
    signers: Vec<Address>,
    written: Vec<Address>,
    /// Added to what instructions name.
    read: Vec<Address>,
    /// Taken from [`TABLE`], where the first is number 7, to be read.
    looked_up: Vec<Address>,
    config: Config,
    /// Limit and price; none in v1.
    budget: Vec<Call>,
    transfer: Call,
    others: Vec<Call>,
}

const VERSIONS: [MessageVersion; 3] =
    [MessageVersion::Legacy, MessageVersion::V0, MessageVersion::V1];

/// The offer that takes every version.
fn any_version() -> String {
    offer(r#","transactionVersions":[0,1]"#)
}

/// A payment as the official clients make it.
fn payment(version: MessageVersion) -> Tx {
    payment_in(version, TokenProgram::Token, USDC)
}

fn payment_in(version: MessageVersion, program: TokenProgram, mint: &str) -> Tx {
    let source = account_of(payer(), program, mint);
    let destination = account_of(at(PAY_TO), program, mint);
    let transfer = TransferChecked {
        source: 0,
        mint: 0,
        destination: 0,
        authority: 0,
        amount: 1000,
        decimals: 6,
    };
    let v1 = version == MessageVersion::V1;
    Tx {
        version,
        signers: vec![fee_payer(), payer()],
        written: vec![source, destination],
        read: vec![],
        looked_up: vec![],
        config: match v1 {
            true => Config {
                compute_units: Some(20_000),
                loaded_accounts_bytes: Some(4 << 20),
                ..Config::default()
            },
            false => Config::default(),
        },
        budget: if v1 { vec![] } else { vec![unit_limit(20_000), unit_price(1)] },
        transfer: call(
            program.address(),
            &[source, at(mint), destination, payer()],
            &transfer.data(),
        ),
        others: vec![memo(b"0123456789abcdef0123456789abcdef")],
    }
}

fn v0() -> Tx {
    payment(MessageVersion::V0)
}

impl Tx {
    fn amount(mut self, amount: u64) -> Self {
        self.transfer.data[1..9].copy_from_slice(&amount.to_le_bytes());
        self
    }

    fn memos(mut self, memos: &[&[u8]]) -> Self {
        self.others = memos.iter().map(|text| memo(text)).collect();
        self
    }

    /// The bytes, signed by all but the fee payer.
    fn signed(&self) -> Vec<u8> {
        self.try_signed().unwrap()
    }

    /// `None` for what [`Draft`] knows to be no message.
    fn try_signed(&self) -> Option<Vec<u8>> {
        let transfer = core::slice::from_ref(&self.transfer);
        let all = [&self.budget, transfer, &self.others].concat();
        self.signed_calls(&all)
    }

    fn signed_calls(&self, calls: &[Call]) -> Option<Vec<u8>> {
        let message = self.message(calls)?;
        let signature = |signer: &Address| {
            let own = (2..=5).map(key).find(|key| Signer::public_key(key) == signer.0);
            own.map_or([0; 64], |key| Signer::sign(&key, message.as_slice()).unwrap())
        };
        let signatures: Vec<u8> = self.signers.iter().flat_map(signature).collect();
        Some(match self.version {
            MessageVersion::V1 => [message, signatures].concat(),
            _ => [vec![u8::try_from(self.signers.len()).unwrap()], signatures, message].concat(),
        })
    }

    fn message(&self, calls: &[Call]) -> Option<Vec<u8>> {
        let mut keys = [&self.signers[..], &self.written].concat();
        let first_read = keys.len();
        keys.extend(&self.read);
        for named in calls.iter().flat_map(|one| one.accounts.iter().chain([&one.program])) {
            if !keys.contains(named) && !self.looked_up.contains(named) {
                keys.push(*named);
            }
        }
        // As if those from the table were the last of the message's own: they are numbered so.
        let own = keys.len();
        keys.extend(&self.looked_up);
        let place = |key: &Address| {
            u8::try_from(keys.iter().position(|other| other == key).unwrap()).unwrap()
        };
        let accounts: Vec<Vec<u8>> =
            calls.iter().map(|one| one.accounts.iter().map(place).collect()).collect();
        let instructions: Vec<_> = calls
            .iter()
            .zip(&accounts)
            .map(|(one, accounts)| Instruction {
                program: place(&one.program),
                accounts,
                data: &one.data,
            })
            .collect();
        let draft = Draft {
            version: self.version,
            header: Header {
                signers: u8::try_from(self.signers.len()).unwrap(),
                readonly_signers: u8::try_from(self.signers.len()).unwrap() - 1,
                readonly_others: u8::try_from(keys.len() - first_read).unwrap(),
            },
            keys: &keys,
            lifetime: &base58::decode(BLOCKHASH).unwrap(),
            config: self.config,
            instructions: &instructions,
        };
        let mut out = [0; TRANSACTION_V1_BYTES];
        let mut message = draft.write(&mut out).ok()?.message().to_vec();
        if !self.looked_up.is_empty() {
            // Move them to the table: one of 32 bytes, nothing written, these read.
            let count = u8::try_from(self.looked_up.len()).unwrap();
            message[3] -= count;
            message[4] -= count;
            message.drain(5 + 32 * own..5 + 32 * keys.len());
            assert_eq!(message.pop(), Some(0));
            message.push(1);
            message.extend(TABLE.0);
            message.extend([0, count]);
            message.extend(7..7 + count);
        }
        Some(message)
    }
}

type Change = fn(&mut Tx);

/// A rule's answer to a payment with one change, whatever its version.
#[test]
fn transfer_accounts_and_instructions() {
    let rows: &[(&str, &str, Change)] = &[
        ("as it is", VALID, |_| {}),
        // Instructions: limit and price, transfer, and up to four others.
        ("no other instruction", VALID, |tx| tx.others.clear()),
        ("four others", VALID, |tx| tx.others = vec![memo(b"a"); 4]),
        ("five others", LENGTH, |tx| tx.others = vec![memo(b"a"); 5]),
        ("wallet protection", VALID, |tx| tx.others.push(call(LIGHTHOUSE, &[other()], &[1]))),
        ("unknown fourth", ".unknown_fourth_instruction", |tx| {
            tx.others.insert(0, call(SYSTEM, &[], &[]));
        }),
        ("unknown fifth", ".unknown_fifth_instruction", |tx| tx.others.push(call(TABLE, &[], &[]))),
        ("unknown sixth", ".unknown_sixth_instruction", |tx| {
            tx.others = vec![memo(b"a"), memo(b"b"), call(other(), &[], &[])];
        }),
        ("unknown seventh", ".unknown_seventh_instruction", |tx| {
            tx.others = vec![memo(b"a"); 3];
            tx.others.push(call(SYSTEM, &[], &[]));
        }),
        ("another transfer", ".unknown_fifth_instruction", |tx| {
            tx.others.push(tx.transfer.clone())
        }),
        ("budget behind the transfer", ".unknown_fifth_instruction", |tx| {
            tx.others.push(unit_limit(1_000_000));
        }),
        ("durable nonce behind the transfer", ".unknown_fifth_instruction", |tx| {
            tx.others.push(advance_nonce());
        }),
        // The transfer: TransferChecked of a token program, no byte and no account more or less.
        ("memo for transfer", NO_TRANSFER, |tx| tx.transfer = memo(b"a")),
        ("other program's transfer", NO_TRANSFER, |tx| tx.transfer.program = SYSTEM),
        ("account made first", NO_TRANSFER, |tx| {
            let create = call(ASSOCIATED_TOKEN, &[payer(), tx.written[1]], &[1]);
            tx.others.insert(0, core::mem::replace(&mut tx.transfer, create));
        }),
        ("unchecked transfer", NO_TRANSFER, |tx| tx.transfer.data[0] = 3),
        ("eleven bytes", NO_TRANSFER, |tx| tx.transfer.data.push(0)),
        ("nine bytes", NO_TRANSFER, |tx| tx.transfer.data.truncate(9)),
        ("no bytes", NO_TRANSFER, |tx| tx.transfer.data.clear()),
        ("three accounts", NO_TRANSFER, |tx| tx.transfer.accounts.truncate(3)),
        ("five accounts", NO_TRANSFER, |tx| tx.transfer.accounts.push(other())),
        ("fee payer as fifth", NO_TRANSFER, |tx| tx.transfer.accounts.push(fee_payer())),
        // The payer.
        ("fee payer pays", FEE_PAYER_PAYS, |tx| tx.transfer.accounts[3] = fee_payer()),
        ("fee payer alone", FEE_PAYER_PAYS, |tx| {
            tx.signers.truncate(1);
            tx.transfer.accounts[3] = fee_payer();
        }),
        ("payer does not sign", NO_TRANSFER, |tx| tx.signers.truncate(1)),
        ("somebody else pays unasked", NO_TRANSFER, |tx| tx.transfer.accounts[3] = other()),
        // A delegate may pay from another's account: whether it is one, the chain knows.
        ("from another's account", VALID, |tx| {
            tx.transfer.accounts[0] = account_of(other(), TokenProgram::Token, USDC);
        }),
        // The token, the payee and the amount.
        ("other mint", ".mint_mismatch", |tx| tx.transfer.accounts[1] = at(PYUSD)),
        // A transfer from an account to itself moves nothing, by any authority.
        ("to where it comes from", NO_TRANSFER, |tx| tx.transfer.accounts[2] = tx.written[0]),
        ("from where it goes to", NO_TRANSFER, |tx| tx.transfer.accounts[0] = tx.written[1]),
        ("to the wallet itself", ".recipient_mismatch", |tx| tx.transfer.accounts[2] = at(PAY_TO)),
        ("to another account", ".recipient_mismatch", |tx| {
            tx.transfer.accounts[2] = account_of(other(), TokenProgram::Token, USDC);
        }),
        ("to the other program's account", ".recipient_mismatch", |tx| {
            tx.transfer.accounts[2] = account_of(at(PAY_TO), TokenProgram::Token2022, USDC);
        }),
        ("one less", ".amount_mismatch", |tx| *tx = tx.clone().amount(999)),
        ("one more", ".amount_mismatch", |tx| *tx = tx.clone().amount(1001)),
        ("nothing", ".amount_mismatch", |tx| *tx = tx.clone().amount(0)),
        ("everything", ".amount_mismatch", |tx| *tx = tx.clone().amount(u64::MAX)),
        ("wrong decimals", ".mint_mismatch", |tx| tx.transfer.data[9] = 9),
        // Nothing but the fee is the fee payer's.
        ("fee payer as source", FEE_PAYER_PAYS, |tx| tx.transfer.accounts[0] = fee_payer()),
        ("fee payer as mint", ".mint_mismatch", |tx| tx.transfer.accounts[1] = fee_payer()),
        ("fee payer as destination", ".recipient_mismatch", |tx| {
            tx.transfer.accounts[2] = fee_payer();
        }),
        ("memo signed by the fee payer", FEE_PAYER_PAYS, |tx| {
            tx.others[0].accounts = vec![fee_payer()];
        }),
        ("memo signed by both", FEE_PAYER_PAYS, |tx| {
            tx.others[0].accounts = vec![payer(), fee_payer()];
        }),
        ("memo signed by the payer", VALID, |tx| tx.others[0].accounts = vec![payer()]),
        ("memo naming another", VALID, |tx| tx.others[0].accounts = vec![other()]),
        ("fee payer in wallet protection", FEE_PAYER_PAYS, |tx| {
            tx.others.push(call(LIGHTHOUSE, &[fee_payer()], &[1]));
        }),
        // Signers.
        ("a third signer", ".excessive_signers", |tx| tx.signers.push(other())),
        ("other fee payer", "invalid_exact_svm_fee_payer_mismatch", |tx| tx.signers[0] = other()),
        ("fee payer second", "invalid_exact_svm_fee_payer_mismatch", |tx| tx.signers.reverse()),
        // An address twice: the validators take none.
        ("mint twice", UNDECODED, |tx| tx.read = vec![at(USDC); 2]),
        ("source twice", UNDECODED, |tx| tx.read = vec![tx.written[0]]),
        ("fee payer twice", UNDECODED, |tx| tx.read = vec![fee_payer()]),
        ("payer twice", UNDECODED, |tx| tx.written.push(payer())),
    ];
    for version in VERSIONS {
        for (name, expected, change) in rows {
            let mut tx = payment(version);
            change(&mut tx);
            // A transaction that Draft refuses counts as undecoded.
            let verdict = tx.try_signed().map(|bytes| code(verify(&any_version(), &bytes)));
            assert_eq!(verdict.as_deref().unwrap_or(UNDECODED), *expected, "{version:?}: {name}");
        }
        let tx = payment(version);
        let none = tx.signed_calls(&[]).unwrap();
        assert_eq!(code(verify(&any_version(), &none)), LENGTH, "{version:?}");
    }
}

/// Of two faults, the one is told that the official facilitator comes upon first.
#[test]
fn order_of_checks() {
    let no_tables = "invalid_exact_svm_smart_wallet_alt_resolution_not_available";
    let faults: &[(&str, Change)] = &[
        (".excessive_signers", |tx| tx.signers.push(other())),
        ("invalid_exact_svm_fee_payer_mismatch", |tx| tx.signers[0] = address(3)),
        (".signature_invalid", |tx| tx.signers[1] = Address([9; 32])),
        (UNDECODED, |tx| tx.read = vec![TABLE; 2]),
        (no_tables, |tx| tx.looked_up = vec![Address([8; 32])]),
        (LENGTH, |tx| tx.others = vec![memo(b"a"); 5]),
        (LIMIT, |tx| tx.budget[0].data.clear()),
        (LIMIT_TOO_HIGH, |tx| tx.budget[0] = unit_limit(400_001)),
        (PRICE, |tx| tx.budget[1].data.clear()),
        (PRICE_TOO_HIGH, |tx| tx.budget[1] = unit_price(5_000_001)),
        (NO_TRANSFER, |tx| tx.transfer.program = SYSTEM),
        (FEE_PAYER_PAYS, |tx| tx.transfer.accounts[3] = fee_payer()),
        (NO_TRANSFER, |tx| tx.transfer.accounts[3] = other()),
        (".mint_mismatch", |tx| tx.transfer.accounts[1] = at(PYUSD)),
        (".recipient_mismatch", |tx| tx.transfer.accounts[2] = other()),
        (".amount_mismatch", |tx| tx.transfer.data[1] ^= 1),
        (".mint_mismatch", |tx| tx.transfer.data[9] = 9),
        (".unknown_fourth_instruction", |tx| tx.others.insert(0, call(SYSTEM, &[], &[]))),
        (".memo_count", |tx| tx.others.clear()),
        (".memo_mismatch", |tx| tx.others[0].data[0] ^= 1),
        (FEE_PAYER_PAYS, |tx| tx.budget[1].accounts = vec![fee_payer()]),
    ];
    let offer = offer(r#","memo":"order-42""#);
    for (at, (expected, first)) in faults.iter().enumerate() {
        for (second, (_, later)) in faults.iter().enumerate().skip(at) {
            let mut tx = v0().memos(&[b"order-42"]);
            if second != at {
                later(&mut tx);
            }
            first(&mut tx);
            assert_eq!(code(verify(&offer, &tx.signed())), *expected, "{at} {second}");
        }
    }
}

#[test]
fn budget() {
    let rows: &[(&str, &str, Change)] = &[
        ("at the limit", VALID, |tx| tx.budget[0] = unit_limit(400_000)),
        ("above it", LIMIT_TOO_HIGH, |tx| tx.budget[0] = unit_limit(400_001)),
        ("no units", VALID, |tx| tx.budget[0] = unit_limit(0)),
        ("at the price", VALID, |tx| tx.budget[1] = unit_price(5_000_000)),
        ("above it", PRICE_TOO_HIGH, |tx| tx.budget[1] = unit_price(5_000_001)),
        ("far above it", PRICE_TOO_HIGH, |tx| tx.budget[1] = unit_price(u64::MAX)),
        ("above it for no units", PRICE_TOO_HIGH, |tx| {
            (tx.budget[0], tx.budget[1]) = (unit_limit(0), unit_price(5_000_001));
        }),
        ("at the fee", VALID, |tx| {
            (tx.budget[0], tx.budget[1]) = (unit_limit(400_000), unit_price(250_000));
        }),
        ("above it", PRICE_TOO_HIGH, |tx| {
            (tx.budget[0], tx.budget[1]) = (unit_limit(400_000), unit_price(250_001));
        }),
        ("limit and more", LIMIT, |tx| tx.budget[0].data.push(0)),
        ("half a limit", LIMIT, |tx| tx.budget[0].data.truncate(4)),
        ("empty limit", LIMIT, |tx| tx.budget[0].data.clear()),
        ("heap for limit", LIMIT, |tx| tx.budget[0].data[0] = 1),
        ("other program's limit", LIMIT, |tx| tx.budget[0].program = MEMO),
        ("price and more", PRICE, |tx| tx.budget[1].data.push(0)),
        ("half a price", PRICE, |tx| tx.budget[1].data.truncate(8)),
        ("empty price", PRICE, |tx| tx.budget[1].data.clear()),
        ("loaded bytes for price", PRICE, |tx| tx.budget[1].data[0] = 4),
        ("other program's price", PRICE, |tx| tx.budget[1].program = MEMO),
        ("price first", LIMIT, |tx| tx.budget.reverse()),
        ("limit twice", PRICE, |tx| tx.budget[1] = unit_limit(1)),
        ("no price", PRICE, |tx| tx.budget.truncate(1)),
        ("no limit", LIMIT, |tx| drop(tx.budget.remove(0))),
        ("neither", LENGTH, |tx| tx.budget.clear()),
        ("limit three times", NO_TRANSFER, |tx| tx.budget.push(unit_limit(1))),
        ("durable nonce", LIMIT, |tx| tx.budget.insert(0, advance_nonce())),
        ("fee payer named by the limit", FEE_PAYER_PAYS, |tx| {
            tx.budget[0].accounts = vec![fee_payer()];
        }),
        ("fee payer named by the price", FEE_PAYER_PAYS, |tx| {
            tx.budget[1].accounts = vec![fee_payer()];
        }),
    ];
    for version in [MessageVersion::Legacy, MessageVersion::V0] {
        for (name, expected, change) in rows {
            let mut tx = payment(version);
            change(&mut tx);
            let verdict = code(verify(&any_version(), &tx.signed()));
            assert_eq!(verdict, *expected, "{version:?}: {name}");
        }
    }
    // The caller's limits count instead; the official option for the price allows nothing at all.
    let limits = Limits { compute_units: 20_000, compute_unit_price: 0, ..Limits::default() };
    let rules = Rules { limits, ..Rules::default() };
    let mut tx = v0();
    assert_eq!(code(verify_with(rules, &offer(""), &tx.signed())), PRICE_TOO_HIGH);
    tx.budget[1] = unit_price(0);
    assert_eq!(code(verify_with(rules, &offer(""), &tx.signed())), VALID);
    tx.budget[0] = unit_limit(20_001);
    assert_eq!(code(verify_with(rules, &offer(""), &tx.signed())), LIMIT_TOO_HIGH);
}

/// v1 has its budget in the message: the priority fee for all units together, in lamports.
#[test]
fn budget_of_v1() {
    let rows: &[(&str, &str, Change)] = &[
        ("at the limit", VALID, |tx| tx.config.compute_units = Some(400_000)),
        ("above it", LIMIT_TOO_HIGH, |tx| tx.config.compute_units = Some(400_001)),
        ("no limit", LIMIT, |tx| tx.config.compute_units = None),
        ("no loaded bytes", LIMIT, |tx| tx.config.loaded_accounts_bytes = None),
        ("no fee", VALID, |tx| tx.config.priority_fee = Some(0)),
        // 20 000 units at 5 lamports.
        ("at the price", VALID, |tx| tx.config.priority_fee = Some(100_000)),
        ("above it", PRICE_TOO_HIGH, |tx| tx.config.priority_fee = Some(100_001)),
        ("far above it", PRICE_TOO_HIGH, |tx| tx.config.priority_fee = Some(u64::MAX)),
        ("at the fee", VALID, |tx| {
            (tx.config.compute_units, tx.config.priority_fee) = (Some(400_000), Some(100_000));
        }),
        ("above the fee", PRICE_TOO_HIGH, |tx| {
            (tx.config.compute_units, tx.config.priority_fee) = (Some(400_000), Some(100_001));
        }),
        ("a fee for no units", PRICE_TOO_HIGH, |tx| {
            (tx.config.compute_units, tx.config.priority_fee) = (Some(0), Some(1));
        }),
        ("more heap", VALID, |tx| tx.config.heap_bytes = Some(64 << 10)),
        ("budget by instruction", NO_TRANSFER, |tx| tx.budget = vec![unit_limit(20_000)]),
        ("budget by two", NO_TRANSFER, |tx| tx.budget = payment(MessageVersion::V0).budget),
        ("durable nonce", NO_TRANSFER, |tx| tx.budget = vec![advance_nonce()]),
    ];
    for (name, expected, change) in rows {
        let mut tx = payment(MessageVersion::V1);
        change(&mut tx);
        assert_eq!(code(verify(&any_version(), &tx.signed())), *expected, "{name}");
    }
    // A cap below one lamport a unit is not rounded: 20 000 units at a quarter are 5000.
    let limits = Limits { compute_unit_price: 250_000, ..Limits::default() };
    let rules = Rules { limits, ..Rules::default() };
    for (fee, expected) in [(5000, VALID), (5001, PRICE_TOO_HIGH)] {
        let mut tx = payment(MessageVersion::V1);
        tx.config.priority_fee = Some(fee);
        assert_eq!(code(verify_with(rules, &any_version(), &tx.signed())), expected);
    }
}

/// Which versions an offer takes; v1 only by name.
#[test]
fn transaction_versions() {
    let [legacy, v0, v1] = VERSIONS.map(|version| payment(version).signed());
    for (listed, zero, one) in [
        ("", VALID, UNDECODED),
        (r#","transactionVersions":null"#, VALID, UNDECODED),
        (r#","transactionVersions":[0]"#, VALID, UNDECODED),
        (r#","transactionVersions":[0,1]"#, VALID, VALID),
        (r#","transactionVersions":[1]"#, UNDECODED, VALID),
        (r#","transactionVersions":[2,1]"#, UNDECODED, VALID),
        (r#","transactionVersions":[]"#, UNDECODED, UNDECODED),
        (r#","transactionVersions":["1"]"#, UNDECODED, UNDECODED),
        (r#","transactionVersions":1"#, UNDECODED, UNDECODED),
    ] {
        for offer in [offer(listed), offer_v1(listed)] {
            assert_eq!(code(verify(&offer, &legacy)), zero, "{listed}");
            assert_eq!(code(verify(&offer, &v0)), zero, "{listed}");
            assert_eq!(code(verify(&offer, &v1)), one, "{listed}");
        }
    }
    // Written by other software (kit 8.4), with addresses in the order of their text. All is well
    // up to the payer's signature; but it may load zero bytes of accounts, so no validator runs it.
    let foreign = "gQIBAwcAAACu661KeW/MLhXcTGBhtF7Zs3Pyat/HmMp9LYzFgYJxjgIHiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1yBOXcOqH0XX1ajVGbDTH7My42KkbTuN6Jd9g9bj8mzlFX62FA8HEzCM9a2o3JapVFP7qt4nq8ilm9yotlDMclb7a8bnBYfbWmKRrmweAmkoY2/U8QytqJL8bEIg/zLIpg7RCyzkSFX8TqTPQE0KC0DK1/+zQGi2/G3eQYI3wAupwVKU1qZKSEGTSTocWDaOHx8NbXdvJK7geQfqEBBBUSNBt324ddloZPZy+FGzut5rBy0he1fWzeROoz1hX7/AKkBAAAAAAAAACBOAAAGBAoABQAIAAMEAgEM6AMAAAAAAAAGb3JkZXItNDIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEvawtPiBUWMCbgD82yWfHQ+W2bMPqtjqqOm1fvkASF2zqJgvncayHbinM9oUI7b0/mnscI/ZRccCrxYGsZgUBQ==";
    let mut scratch = [0; 500];
    let foreign = base64::decode(foreign.as_bytes(), &mut scratch).unwrap();
    let offer = offer(r#","transactionVersions":[1],"memo":"order-42""#);
    assert_eq!(code(verify(&offer, foreign)), LIMIT);
    let transaction = Transaction::parse(foreign).unwrap();
    assert_eq!(x402_svm::payer(transaction.message()), Some(payer()));
    let config = Config { priority_fee: Some(1), compute_units: Some(20_000), ..Config::default() };
    assert_eq!(transaction.message().config(), config);
}

#[test]
fn signatures() {
    for version in VERSIONS {
        let tx = payment(version);
        let good = tx.signed();
        // Where the payer's signature is: after the fee payer's.
        let end = if version == MessageVersion::V1 { good.len() } else { 1 + 128 };
        let with = |signature: &[u8; 64], slot: usize| {
            let mut changed = good.clone();
            let at = end - 64 * (2 - slot);
            changed[at..at + 64].copy_from_slice(signature);
            code(verify(&any_version(), &changed))
        };
        let transaction = Transaction::parse(&good).unwrap();
        let message = transaction.message().as_bytes();
        let right = transaction.signatures()[1];
        assert_eq!(with(&right, 1), VALID);
        // The fee payer's comes last: whatever is there is written over.
        for early in [[0; 64], [0xff; 64], right, Signer::sign(&key(1), message).unwrap()] {
            assert_eq!(with(&early, 0), VALID);
        }
        let mut high_s = right;
        high_s[63] |= 0x80;
        let elsewhere = tx.clone().amount(1001).signed();
        let elsewhere = Transaction::parse(&elsewhere).unwrap().signatures()[1];
        for wrong in [
            [0; 64],
            [0xff; 64],
            high_s,
            elsewhere,
            Signer::sign(&key(1), message).unwrap(),
            Signer::sign(&key(2), &message[1..]).unwrap(),
            Signer::sign(&key(2), &sha256(&[message])[..]).unwrap(),
        ] {
            assert_eq!(with(&wrong, 1), ".signature_invalid", "{version:?}");
        }
    }
}

/// The further things a caller may allow or forbid.
#[test]
fn rules() {
    let base = Rules::default();
    let over = Rules { over_payment: true, ..base };
    for (amount, exact, at_least) in [
        (999, ".amount_mismatch", ".amount_mismatch"),
        (1000, VALID, VALID),
        (1001, ".amount_mismatch", VALID),
        (u64::MAX, ".amount_mismatch", VALID),
    ] {
        let tx = v0().amount(amount).signed();
        assert_eq!(code(verify_with(base, &offer(""), &tx)), exact, "{amount}");
        let more = verify_with(over, &offer(""), &tx);
        assert!(more.as_ref().map_or(true, |payment| payment.amount == amount));
        assert_eq!(code(more), at_least, "{amount}");
    }
    // An amount that no account can hold, and none at all.
    for (asked, paid, exact) in [
        ("0", 0, ".amount_mismatch"),
        ("18446744073709551615", u64::MAX, VALID),
        ("18446744073709551616", u64::MAX, ".amount_mismatch"),
        ("18446744073709551616", 0, ".amount_mismatch"),
        ("18446744073709552616", 1000, ".amount_mismatch"),
    ] {
        let offer = offer("").replace("\"1000\"", &format!("\"{asked}\""));
        for rules in [base, over] {
            let verdict = verify_with(rules, &offer, &v0().amount(paid).signed());
            assert_eq!(code(verdict), exact, "{paid} for {asked}");
        }
    }

    let signatures = |most| Rules { limits: Limits { signatures: most, ..base.limits }, ..base };
    let mut three = v0();
    three.signers.push(other());
    let excessive = ".excessive_signers";
    assert_eq!(code(verify_with(signatures(1), &offer(""), &v0().signed())), excessive);
    assert_eq!(code(verify_with(signatures(2), &offer(""), &three.signed())), excessive);
    assert_eq!(code(verify_with(signatures(3), &offer(""), &three.signed())), VALID);
    // Every signer must have signed, and signs once.
    let mut unsigned = three.signed();
    unsigned[1 + 2 * 64] ^= 1;
    let verdict = verify_with(signatures(3), &offer(""), &unsigned);
    assert_eq!(code(verdict), ".signature_invalid");
    three.signers[2] = payer();
    assert_eq!(code(verify_with(signatures(3), &offer(""), &three.signed())), UNDECODED);

    let own = |own: &[Address]| {
        code(verify_with(Rules { fee_payers: Some(own), ..base }, &offer(""), &v0().signed()))
    };
    assert_eq!(own(&[]), "invalid_exact_svm_fee_payer_not_managed_by_facilitator");
    assert_eq!(own(&[other()]), "invalid_exact_svm_fee_payer_not_managed_by_facilitator");
    assert_eq!(own(&[other(), fee_payer()]), VALID);
    // Another key of the facilitator's is not to pay either.
    assert_eq!(own(&[fee_payer(), payer()]), FEE_PAYER_PAYS);
}

/// Derives no account.
struct NoCurve;

impl Verify for NoCurve {
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        Dalek.verify(public, message, signature)
    }

    fn is_point(&self, _: &[u8; 32]) -> bool {
        panic!("asked for a point");
    }
}

/// A caller that knows the payee's account is believed, and asked for nothing else.
#[test]
fn known_accounts() {
    let destination = account_of(at(PAY_TO), TokenProgram::Token, USDC);
    let know = |answer: Option<Address>| {
        move |owner, program, mint| {
            let asked = (owner, program, mint);
            assert_eq!(asked, (at(PAY_TO), TokenProgram::Token, at(USDC)));
            answer
        }
    };
    let mut elsewhere = v0();
    (elsewhere.written[1], elsewhere.transfer.accounts[2]) = (TABLE, TABLE);
    let (right, elsewhere) = (v0().signed(), elsewhere.signed());
    for (name, answer, to_payee, to_table) in [
        ("right", Some(destination), VALID, ".recipient_mismatch"),
        ("wrong", Some(TABLE), ".recipient_mismatch", VALID),
        ("none", None, VALID, ".recipient_mismatch"),
    ] {
        let account = know(answer);
        let rules = Rules { account: Some(&account), ..Rules::default() };
        for (tx, expected) in [(&right, to_payee), (&elsewhere, to_table)] {
            assert_eq!(code(verify_with(rules, &offer(""), tx)), expected, "{name}");
            if answer.is_some() {
                let (offer, transaction) = (offer(""), base64_of(tx));
                let payment = format!(
                    r#"{{"x402Version":2,"accepted":{offer},"payload":{{"transaction":"{transaction}"}}}}"#
                );
                let payment = PaymentPayload::parse(payment.as_bytes()).unwrap();
                let offer = PaymentRequirements::parse(offer.as_bytes()).unwrap();
                let scheme = ExactSvm::<_, TRANSACTION_BYTES>::with_verify(NoCurve, rules);
                let verdict = gate::verify(&scheme, &payment, &offer, NOW);
                assert_eq!(code(verdict), expected, "{name}");
            }
        }
    }
}

/// Another decoder has the word on base64, and on nothing before it.
#[test]
fn another_decoder() {
    fn none<'s>(_: &[u8], _: &'s mut [u8]) -> Result<&'s [u8], ParseError> {
        Err(ParseError::NotBase64)
    }
    fn reversed<'s>(text: &[u8], scratch: &'s mut [u8]) -> Result<&'s [u8], ParseError> {
        let text: Vec<u8> = text.iter().rev().copied().collect();
        base64::decode(&text, scratch)
    }
    let by = |base64: DecodeBase64, offer: &str, text: &str| {
        let rules = Rules { base64: Some(base64), ..Rules::default() };
        let payload = format!(r#"{{"transaction":"{text}"}}"#);
        code(verify_parts::<TRANSACTION_V1_BYTES>(rules, offer, offer, &payload))
    };
    let text = base64_of(&v0().signed());
    let backwards: String = text.chars().rev().collect();
    assert_eq!(by(base64::decode, &offer(""), &text), VALID);
    assert_eq!(by(reversed, &offer(""), &backwards), VALID);
    assert_eq!(by(reversed, &offer(""), &text), UNDECODED);
    assert_eq!(by(none, &offer(""), &text), UNDECODED);
    assert_eq!(by(none, &offer(""), &text.replace('/', "\\/")), UNDECODED);
    assert_eq!(by(base64::decode, &offer(""), &text.replace('/', "\\/")), VALID);
    let no_fee_payer = offer("").replace("feePayer", "nobody");
    assert_eq!(by(none, &no_fee_payer, &text), ".missing_fee_payer");
}

#[test]
fn tokens() {
    use TokenProgram::{Token, Token2022};
    let asset = |program, decimals| Asset {
        network: DEVNET,
        symbol: "TEST",
        address: at(UNLISTED),
        mint: Mint { program, decimals, extensions: Extensions::NONE },
    };
    let [vouched, nine, spl] = [asset(Token2022, 6), asset(Token2022, 9), asset(Token, 6)];
    let elsewhere = Asset { network: MAINNET, ..vouched };
    let with_fee =
        Asset { mint: Mint { extensions: Extensions::TRANSFER_FEE, ..vouched.mint }, ..vouched };
    let unsafe_word = Asset { address: at(PYUSD), ..with_fee };
    let own_word = Asset { address: at(PYUSD), ..nine };
    let wrong = ".mint_mismatch";
    let rows: &[(&str, TokenProgram, u8, &[Asset<'_>], &str)] = &[
        (USDC, Token, 6, &[], VALID),
        (USDC, Token, 5, &[], wrong),
        (USDC, Token2022, 6, &[], wrong),
        (PYUSD, Token2022, 6, &[], VALID),
        (PYUSD, Token2022, 9, &[], wrong),
        (PYUSD, Token, 6, &[], wrong),
        // The caller's word counts before the table's.
        (PYUSD, Token2022, 9, &[own_word], VALID),
        (PYUSD, Token2022, 6, &[own_word], wrong),
        // SPL Token moves what it says, and knows its mints' decimals.
        (UNLISTED, Token, 6, &[], VALID),
        (UNLISTED, Token, 9, &[], VALID),
        (UNLISTED, Token, 9, &[spl], wrong),
        (UNLISTED, Token2022, 6, &[], wrong),
        (UNLISTED, Token2022, 6, &[vouched], VALID),
        (UNLISTED, Token2022, 9, &[vouched], wrong),
        (UNLISTED, Token2022, 9, &[nine], VALID),
        // Nobody's word makes a mint with fees safe, but the table's does.
        (UNLISTED, Token2022, 6, &[with_fee], wrong),
        (PYUSD, Token2022, 6, &[unsafe_word], VALID),
        (UNLISTED, Token2022, 6, &[elsewhere], wrong),
        (UNLISTED, Token2022, 6, &[spl], wrong),
        (UNLISTED, Token, 6, &[vouched], wrong),
    ];
    for (mint, program, decimals, assets, expected) in rows {
        for version in VERSIONS {
            let mut tx = payment_in(version, *program, mint);
            tx.transfer.data[9] = *decimals;
            let rules = Rules { assets, ..Rules::default() };
            let offer = any_version().replace(USDC, mint);
            let verdict = verify_with(rules, &offer, &tx.signed());
            if let Ok(payment) = &verdict {
                assert_eq!((payment.asset, payment.token_program), (at(mint), *program));
            }
            assert_eq!(code(verdict), *expected, "{mint} {program:?} {decimals} {assets:?}");
        }
    }
    // Token-2022's accounts, but the other program's transfer.
    let mut tx = payment_in(MessageVersion::V0, Token2022, PYUSD);
    tx.transfer.program = Token.address();
    let verdict = verify(&offer("").replace(USDC, PYUSD), &tx.signed());
    assert_eq!(code(verdict), ".recipient_mismatch");
}

/// Addresses from tables count as what they are found to be, and not at all if they are not found.
#[test]
fn address_tables() {
    let destination = account_of(at(PAY_TO), TokenProgram::Token, USDC);
    let with = |named: Address| {
        let mut tx = v0();
        tx.written.retain(|key| *key != named);
        tx.looked_up = vec![TABLE, named];
        tx.others[0].accounts = if named == destination { vec![] } else { vec![named] };
        tx.signed()
    };
    let (to, memo) = (with(destination), with(other()));
    let found = |address: Address| {
        move |table, index| (table == TABLE).then_some(if index == 8 { address } else { TABLE })
    };
    let (none, failed) = (
        "invalid_exact_svm_smart_wallet_alt_resolution_not_available",
        "invalid_exact_svm_smart_wallet_alt_resolution_failed",
    );
    let rows: &[(&str, &[u8], x402_svm::Resolve<'_>, &str)] = &[
        ("right destination", &to, &found(destination), VALID),
        ("other destination", &to, &found(other()), ".recipient_mismatch"),
        ("fee payer for destination", &to, &found(fee_payer()), ".recipient_mismatch"),
        ("no destination", &to, &|_, _| None, failed),
        ("right account", &memo, &found(other()), VALID),
        ("fee payer for account", &memo, &found(fee_payer()), FEE_PAYER_PAYS),
        ("no account", &memo, &|_, _| None, failed),
    ];
    for (name, tx, resolve, expected) in rows {
        let rules = Rules { resolve: Some(*resolve), ..Rules::default() };
        let verdict = verify_with(rules, &offer(""), tx);
        if let Ok(payment) = &verdict {
            assert_eq!(payment.destination, destination);
        }
        assert_eq!(code(verdict), *expected, "{name}");
        assert_eq!(code(verify(&offer(""), tx)), none, "{name}");
        // Version 1 of the protocol has no tables, even for a caller that can read them.
        assert_eq!(code(verify_with(rules, &offer_v1(""), tx)), UNDECODED, "{name}");
    }
    // Source, mint and authority as well; an authority from a table cannot have signed.
    for (place, expected) in [(0, FEE_PAYER_PAYS), (1, ".mint_mismatch"), (3, FEE_PAYER_PAYS)] {
        let mut tx = v0();
        tx.looked_up = vec![TABLE, other()];
        tx.transfer.accounts[place] = other();
        let bytes = tx.signed();
        let resolve = found(fee_payer());
        let rules = Rules { resolve: Some(&resolve), ..Rules::default() };
        assert_eq!(code(verify_with(rules, &offer(""), &bytes)), expected, "{place}");
        if place == 3 {
            let resolve = found(payer());
            let rules = Rules { resolve: Some(&resolve), ..Rules::default() };
            assert_eq!(code(verify_with(rules, &offer(""), &bytes)), NO_TRANSFER);
            // The hint who pays does not ask tables.
            let transaction = Transaction::parse(&bytes).unwrap();
            assert_eq!(x402_svm::payer(transaction.message()), None);
        }
    }
}

#[test]
fn memos() {
    let (count, mismatch) = (".memo_count", ".memo_mismatch");
    let longest = format!("\"{}\"", "m".repeat(256));
    let longer = format!("\"{}\"", "m".repeat(257));
    let rows: &[(&str, &[&[u8]], &str)] = &[
        // Nothing asked: anything goes.
        ("null", &[], VALID),
        ("null", &[b"a", b"b"], VALID),
        (r#""""#, &[], VALID),
        (r#""""#, &[b"\xff"], VALID),
        ("11", &[b"11"], "invalid_payment_requirements"),
        (r#"["a"]"#, &[b"a"], "invalid_payment_requirements"),
        (r#""order-42""#, &[b"order-42"], VALID),
        (r#""order-42""#, &[], count),
        (r#""order-42""#, &[b"order-42", b"order-42"], count),
        (r#""order-42""#, &[b"order-42", b"else"], count),
        (r#""order-42""#, &[b"order-43"], mismatch),
        (r#""order-42""#, &[b"order-4"], mismatch),
        (r#""order-42""#, &[b"order-42\0"], mismatch),
        (r#""order-42""#, &[b"Order-42"], mismatch),
        (r#""order-42""#, &[b""], mismatch),
        // The offer's JSON may write its text in more than one way, the memo has one.
        (r#""caf\u00e9 \"x\"""#, &["café \"x\"".as_bytes()], VALID),
        (r#""café \u0022x\u0022""#, &["café \"x\"".as_bytes()], VALID),
        (r#""caf\u00e9 \"x\"""#, &[r#"caf\u00e9 \"x\""#.as_bytes()], mismatch),
        (r#""caf\u00e9""#, &["cafe\u{301}".as_bytes()], mismatch),
        (r#""caf\u00e9""#, &[b"caf\xe9"], mismatch),
        (r#""\ud83d\ude00""#, &["😀".as_bytes()], VALID),
        (r#""\ud83d\ude00""#, &[b"\xed\xa0\xbd\xed\xb8\x80"], mismatch),
        // JavaScript's reader takes these for the text; they are not its bytes.
        (r#""\ufffd""#, &["\u{fffd}".as_bytes()], VALID),
        (r#""\ufffd""#, &[b"\xff"], mismatch),
        (r#""x""#, &[b"\xef\xbb\xbfx"], mismatch),
        (r#""\ufeffx""#, &[b"\xef\xbb\xbfx"], VALID),
        // The writer limits the length of a memo.
        (&longest, &[&[b'm'; 256]], VALID),
        (&longer, &[&[b'm'; 257]], VALID),
        (&longer, &[&[b'm'; 256]], mismatch),
    ];
    for (asked, paid, expected) in rows {
        let extra = format!(r#","transactionVersions":[0,1],"memo":{asked}"#);
        for version in VERSIONS {
            for offer in [offer(&extra), offer_v1(&extra)] {
                let verdict = verify(&offer, &payment(version).memos(paid).signed());
                assert_eq!(code(verdict), *expected, "{asked} {paid:?}");
            }
        }
    }
    // Wallet protection is no memo, and takes no place of one.
    let mut tx = v0().memos(&[b"order-42"]);
    let asked = offer(r#","memo":"order-42""#);
    tx.others.insert(0, call(LIGHTHOUSE, &[], b"order-42"));
    assert_eq!(code(verify(&asked, &tx.signed())), VALID);
    tx.others.truncate(1);
    assert_eq!(code(verify(&asked, &tx.signed())), count);
}

/// Version 1 of the protocol: its own codes where they have no prefix, one instruction less.
#[test]
fn protocol_v1() {
    let tx = v0().signed();
    let payload = format!(r#"{{"transaction":"{}"}}"#, base64_of(&tx));
    let parts = |accepted: &str, offer: &str, rules: Rules<'_>| {
        code(verify_parts::<TRANSACTION_V1_BYTES>(rules, accepted, offer, &payload))
    };
    let (none, rules) = (Rules { fee_payers: Some(&[]), ..Rules::default() }, Rules::default());
    for (offer, network, prefix) in
        [(offer_v1(""), "solana-devnet", ""), (offer(""), NETWORK, "invalid_exact_svm_")]
    {
        assert_eq!(parts(&offer, &offer, rules), VALID);
        let upto = offer.replace("\"exact\"", "\"upto\"");
        for (accepted, offer) in [(&upto, &offer), (&offer, &upto), (&upto, &upto)] {
            let expected = format!("{prefix}unsupported_scheme");
            assert_eq!(parts(accepted, offer, rules), expected);
        }
        let to =
            if prefix.is_empty() { "solana" } else { "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp" };
        let mainnet = offer.replace(network, to);
        for (accepted, offer) in [(&mainnet, &offer), (&offer, &mainnet)] {
            assert_eq!(parts(accepted, offer, rules), format!("{prefix}network_mismatch"));
        }
        let expected = format!("{prefix}fee_payer_not_managed_by_facilitator");
        assert_eq!(parts(&offer, &offer, none), expected);
        // Scheme before network before offer before fee payer before transaction.
        let nothing = offer.replace(FEE_PAYER, "");
        assert_eq!(parts(&upto, &mainnet, none), format!("{prefix}unsupported_scheme"));
        assert_eq!(parts(&offer, &mainnet, none), format!("{prefix}network_mismatch"));
        assert_eq!(parts(&nothing, &nothing, none), ".missing_fee_payer");
    }
    // A seller of version 2 may be paid in version 1, whose rules are then in force. Not the other
    // way round.
    assert_eq!(parts(&offer_v1(""), &offer(""), rules), VALID);
    assert_eq!(parts(&offer(""), &offer_v1(""), rules), "invalid_x402_version");
    for (others, v1, v2) in [(3, VALID, VALID), (4, LENGTH, VALID), (5, LENGTH, LENGTH)] {
        let mut tx = v0();
        tx.others = vec![memo(b"a"); others];
        assert_eq!(code(verify(&offer_v1(""), &tx.signed())), v1);
        assert_eq!(code(verify(&offer(""), &tx.signed())), v2);
    }
    assert_eq!(code(verify(&offer_v1(""), &v0().amount(1001).signed())), ".amount_mismatch");
}

/// Offers that nobody could pay.
#[test]
fn malformed_offers() {
    let tx = v0().signed();
    let required = "invalid_payment_requirements";
    for (from, to, expected) in [
        (FEE_PAYER, "", ".missing_fee_payer"),
        ("feePayer", "feepayer", ".missing_fee_payer"),
        (&format!("\"{FEE_PAYER}\""), "null", ".missing_fee_payer"),
        (&format!("\"{FEE_PAYER}\""), "7", ".missing_fee_payer"),
        (FEE_PAYER, "AKnL", required),
        (PAY_TO, "", required),
        (PAY_TO, "0x90F79bf6EB2c4f870365E785982E1f101E93b906", required),
        (USDC, "USDC", required),
        (NETWORK, "eip155:8453", "invalid_network"),
        (NETWORK, "cosmos:x", "invalid_network"),
        // Another network's tokens are others, but to the chain alone this one is as good.
        (NETWORK, "solana:somewhere", VALID),
    ] {
        assert_eq!(code(verify(&offer("").replace(from, to), &tx)), expected, "{to}");
    }
    let bare = offer("").replace(&format!(",\"extra\":{{\"feePayer\":\"{FEE_PAYER}\"}}"), "");
    assert_eq!(code(verify(&bare, &tx)), ".missing_fee_payer");
}

/// How a transaction may be written down.
#[test]
fn payloads() {
    let verdict = |payload: &str| {
        let rules = Rules::default();
        code(verify_parts::<TRANSACTION_V1_BYTES>(rules, &offer(""), &offer(""), payload))
    };
    for payload in [
        "{}",
        r#"{"transaction":null}"#,
        r#"{"transaction":7}"#,
        r#"{"transaction":{}}"#,
        r#"{"transaction":["AA=="]}"#,
        r#"{"Transaction":"AA=="}"#,
    ] {
        assert_eq!(verdict(payload), "invalid_payload", "{payload}");
    }
    type Write = fn(&str) -> String;
    let changes: &[(&str, &str, Write)] = &[
        ("as it is", VALID, |text| text.into()),
        ("no padding", VALID, |text| text.trim_end_matches('=').into()),
        ("nothing", UNDECODED, |_| String::new()),
        ("padding alone", UNDECODED, |_| "====".into()),
        ("junk", UNDECODED, |_| "!!!!".into()),
        ("space in front", UNDECODED, |text| format!(" {text}")),
        ("space behind", UNDECODED, |text| format!("{text} ")),
        ("space for padding", UNDECODED, |text| format!("{} ", text.trim_end_matches('='))),
        ("space within", UNDECODED, |text| format!("{} {}", &text[..8], &text[8..])),
        ("tab behind", UNDECODED, |text| format!("{text}\\t")),
        ("line end behind", UNDECODED, |text| format!("{text}\\n")),
        ("line end within", UNDECODED, |text| format!("{}\\r\\n{}", &text[..76], &text[76..])),
        ("zero behind", UNDECODED, |text| format!("{text}\\u0000")),
        ("base64url", UNDECODED, |text| text.replace('+', "-").replace('/', "_")),
        ("too much padding", UNDECODED, |text| format!("{text}====")),
        ("padding within", UNDECODED, |text| format!("AA=={text}")),
        ("two texts for one", UNDECODED, |text| {
            let mut scratch = [0; 1024];
            let bytes = base64::decode(text.as_bytes(), &mut scratch).unwrap();
            base64_of(&bytes[..1]) + &base64_of(&bytes[1..])
        }),
        ("two texts for one, at the end of a group", UNDECODED, |text| {
            let mut scratch = [0; 1024];
            let bytes = base64::decode(text.as_bytes(), &mut scratch).unwrap();
            base64_of(&bytes[..47]) + &base64_of(&bytes[47..])
        }),
        ("a digit more", UNDECODED, |text| format!("{}A", text.trim_end_matches('='))),
        ("a group more", UNDECODED, |text| format!("{text}AAAA")),
        ("a digit less", UNDECODED, |text| {
            text[..text.len() - 1].trim_end_matches('=')[1..].into()
        }),
        ("wide digits", UNDECODED, |text| text.replacen('A', "\u{ff21}", 1)),
        // JSON's own escapes are none of base64's business, however many there are.
        ("escaped slashes", VALID, |text| text.replace('/', "\\/")),
        ("escaped pluses", VALID, |text| text.replace('+', "\\u002b")),
        ("escaped padding", VALID, |text| text.replace('=', "\\u003D")),
        ("all escaped", VALID, |text| text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()),
    ];
    // Three lengths, for the three ways in which base64 ends.
    for text in ["a", "ab", "abc"] {
        let base64 = base64_of(&v0().memos(&[text.as_bytes()]).signed());
        assert!(base64.contains('/') && base64.contains('+'));
        for (name, expected, write) in changes {
            // Escapes take another path through the reader: the answer is the same.
            for escaped in [false, true] {
                let mut written = write(&base64);
                if escaped && !written.contains("\\u") && !written.contains("\\/") {
                    written = written.replace('A', "\\u0041");
                }
                let payload = format!(r#"{{"transaction":"{written}"}}"#);
                assert_eq!(verdict(&payload), *expected, "{text}: {name} {escaped}");
            }
        }
        // Bits beyond the last byte.
        let digits = base64.trim_end_matches('=');
        if digits.len() < base64.len() {
            let last = digits.as_bytes()[digits.len() - 1];
            let next = char::from(if last == b'9' { b'+' } else { last + 1 });
            let padding = &base64[digits.len()..];
            for a in ["A", "\\u0041"] {
                let changed = format!("{}{next}{padding}", &digits[..digits.len() - 1]);
                let payload = format!(r#"{{"transaction":"{}"}}"#, changed.replace('A', a));
                assert_eq!(verdict(&payload), UNDECODED, "{text}");
            }
        }
    }
}

/// `BYTES` is the longest transaction looked at.
#[test]
fn bytes_bound_the_transaction() {
    let tx = v0().signed();
    assert_eq!(tx.len(), 496);
    let base64 = base64_of(&tx);
    for text in [base64.clone(), base64.replace('/', "\\/")] {
        let payload = format!(r#"{{"transaction":"{text}"}}"#);
        let (rules, offer) = (Rules::default(), offer(""));
        assert_eq!(code(verify_parts::<496>(rules, &offer, &offer, &payload)), VALID);
        assert_eq!(code(verify_parts::<495>(rules, &offer, &offer, &payload)), UNDECODED);
        assert_eq!(code(verify_parts::<0>(rules, &offer, &offer, &payload)), UNDECODED);
    }
    // Transactions that fit a packet, and v1, which need not.
    let memo = |version, len: usize| {
        let fixed = payment(version).memos(&[&[]]).signed().len();
        // From 128 bytes on, their number takes two; v1's takes two anyway.
        let counted = usize::from(version != MessageVersion::V1);
        let text = vec![b'm'; len - fixed - counted];
        let tx = payment(version).memos(&[&text]);
        let bytes = tx.try_signed();
        assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() == len));
        bytes.map(|bytes| code(verify(&any_version(), &bytes)))
    };
    for version in [MessageVersion::Legacy, MessageVersion::V0] {
        assert_eq!(memo(version, TRANSACTION_BYTES).as_deref(), Some(VALID));
        assert_eq!(memo(version, TRANSACTION_BYTES + 1), None);
    }
    assert_eq!(memo(MessageVersion::V1, TRANSACTION_V1_BYTES).as_deref(), Some(VALID));
    assert_eq!(memo(MessageVersion::V1, TRANSACTION_V1_BYTES + 1), None);
}

#[test]
fn a_payment_is_what_its_message_says() {
    for version in VERSIONS {
        let tx = payment(version).signed();
        let transaction = Transaction::parse(&tx).unwrap();
        let payment = verify(&any_version(), &tx).unwrap();
        assert_eq!(payment.network.as_str(), DEVNET);
        assert_eq!((payment.payer, payment.fee_payer), (payer(), fee_payer()));
        assert_eq!((payment.asset, payment.token_program), (at(USDC), TokenProgram::Token));
        assert_eq!(payment.source, account_of(payer(), TokenProgram::Token, USDC));
        assert_eq!(payment.destination, account_of(at(PAY_TO), TokenProgram::Token, USDC));
        assert_eq!(payment.amount, 1000);
        assert_eq!(payment.blockhash, base58::decode(BLOCKHASH).unwrap());
        assert_eq!(payment.expires_at(), NOW + REMEMBER_SECONDS);
        let hash = sha256(&[transaction.message().as_bytes()]);
        assert_eq!(payment.claim_key().as_bytes(), &hash);
        assert_eq!(x402_svm::payer(transaction.message()), Some(payer()));
        // A caller that also wants the transaction gets the same.
        let offer = any_version();
        let transaction = base64_of(&tx);
        let json = format!(
            r#"{{"x402Version":2,"accepted":{offer},"payload":{{"transaction":"{transaction}"}}}}"#
        );
        let payload = PaymentPayload::parse(json.as_bytes()).unwrap();
        let offer = PaymentRequirements::parse(offer.as_bytes()).unwrap();
        let scheme = ExactSvm::default();
        let mut scratch = [0; 4096];
        let checked = scheme.check_into(&payload, &offer, NOW, &mut scratch);
        assert_eq!(checked, Ok((payment, &tx[..])));
    }
}

/// A payment of an offer as this library makes it.
fn pay<'o>(offer: &str, inputs: &Inputs<'_>, out: &'o mut [u8]) -> Result<&'o [u8], UnsignedError> {
    let offer = PaymentRequirements::parse(offer.as_bytes()).unwrap();
    let unsigned = SvmUnsigned::new(&offer, inputs, &Dalek, out)?;
    let signature = Signer::sign(&key(2), unsigned.message()).unwrap();
    Ok(unsigned.sign(&signature))
}

fn unsigned_len(offer: &str, inputs: &Inputs<'_>) -> Result<usize, UnsignedError> {
    pay(offer, inputs, &mut [0; PAYMENT_BYTES]).map(<[u8]>::len)
}

fn inputs() -> Inputs<'static> {
    Inputs { payer: payer(), blockhash: Some([8; 32]), nonce: [9; 16], assets: &[] }
}

/// A wallet can pay every offer it accepts, and any verifier with the same tokens takes the
/// payment.
#[test]
fn buyer_and_verifier_agree() {
    let mint = Mint { program: TokenProgram::Token2022, decimals: 9, extensions: Extensions::NONE };
    let vouched = [Asset { network: DEVNET, symbol: "TEST", address: at(UNLISTED), mint }];
    let with_hook = vouched.map(|asset| Asset {
        mint: Mint { extensions: Extensions::TRANSFER_HOOK, ..mint },
        ..asset
    });
    let (required, upto) =
        (Reason::InvalidPaymentRequirements, Reason::InvalidExactSvmUnsupportedScheme);
    let mint_mismatch = Reason::InvalidExactSvmPayloadMintMismatch;
    let memo_mismatch = Reason::InvalidExactSvmPayloadMemoMismatch;
    let amount_mismatch = Reason::InvalidExactSvmPayloadAmountMismatch;
    let with = |from: &str, to: &str| offer("").replace(from, to);
    let memo = |text: &str| offer(&format!(r#","memo":"{text}""#));
    let versions = |list: &str| offer(&format!(r#","transactionVersions":{list}"#));
    let amount = |amount: &str| with("1000", amount);
    type Row<'a> = (String, &'a [Asset<'a>], Result<(), Reason>);
    let rows: &[Row<'_>] = &[
        (offer(""), &[], Ok(())),
        (offer_v1(""), &[], Ok(())),
        (with(USDC, PYUSD), &[], Ok(())),
        (with(USDC, UNLISTED), &[], Err(mint_mismatch)),
        (with(USDC, UNLISTED), &vouched, Ok(())),
        (with(USDC, UNLISTED), &with_hook, Err(mint_mismatch)),
        (with("\"exact\"", "\"upto\""), &[], Err(upto)),
        (with(DEVNET, MAINNET), &[], Err(mint_mismatch)),
        (with(FEE_PAYER, ""), &[], Err(Reason::InvalidExactSvmPayloadMissingFeePayer)),
        (with(FEE_PAYER, "x"), &[], Err(required)),
        (with(PAY_TO, "x"), &[], Err(required)),
        (with(USDC, "x"), &[], Err(required)),
        (with(NETWORK, "eip155:1"), &[], Err(Reason::InvalidNetwork)),
        (memo("order-42"), &[], Ok(())),
        (memo("caf\\u00e9 \\\"x\\\""), &[], Ok(())),
        (memo(""), &[], Ok(())),
        (memo(&"m".repeat(256)), &[], Ok(())),
        (memo(&"m".repeat(257)), &[], Err(memo_mismatch)),
        (memo(&"é".repeat(128)), &[], Ok(())),
        (memo(&"\\u00e9".repeat(128)), &[], Ok(())),
        (memo(&"\\u00e9".repeat(129)), &[], Err(memo_mismatch)),
        (offer(r#","memo":7"#), &[], Err(required)),
        (offer(r#","memo":null,"transactionVersions":null,"recentBlockhash":null"#), &[], Ok(())),
        (versions("[0]"), &[], Ok(())),
        (versions("[1]"), &[], Ok(())),
        (versions("[0,1]"), &[], Ok(())),
        (versions("[1,2]"), &[], Ok(())),
        (versions("[2]"), &[], Err(required)),
        (versions("[]"), &[], Err(required)),
        (amount("0"), &[], Err(amount_mismatch)),
        (amount("1"), &[], Ok(())),
        (amount("18446744073709551615"), &[], Ok(())),
        (amount("18446744073709551616"), &[], Err(amount_mismatch)),
    ];
    for (text, assets, expected) in rows {
        let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
        assert_eq!(ExactSvmWallet { assets }.pays(&offer), expected.is_ok(), "{text}");
        let mut out = [0; PAYMENT_BYTES];
        match pay(text, &Inputs { assets, ..inputs() }, &mut out) {
            Ok(tx) => {
                assert_eq!(*expected, Ok(()), "{text}");
                let own = [fee_payer()];
                let rules = Rules { assets, fee_payers: Some(&own), ..Rules::default() };
                let payment = verify_with(rules, text, tx).unwrap();
                assert_eq!(payment.blockhash, [8; 32]);
                // v1 for those who take nothing else.
                let v1 = text.contains(r#""transactionVersions":[1"#);
                let transaction = Transaction::parse(tx).unwrap();
                let version = if v1 { MessageVersion::V1 } else { MessageVersion::V0 };
                assert_eq!(transaction.message().version(), version);
            }
            Err(error) => assert_eq!(error, UnsignedError::Offer(expected.unwrap_err()), "{text}"),
        }
    }
    // Money caps hold for tokens that the library knows; the policy names others with decimals.
    let decimals = |text: &str| {
        let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
        ExactSvmWallet { assets: &vouched }.decimals(&offer)
    };
    assert_eq!(decimals(&offer("")), Some(6));
    assert_eq!(decimals(&offer_v1("")), Some(6));
    assert_eq!(decimals(&offer("").replace(USDC, UNLISTED)), None);
}

#[test]
fn who_cannot_pay_whom() {
    let funds = Reason::InvalidExactSvmPayloadTransactionFeePayerTransferringFunds;
    let as_payer =
        |seed: u8| unsigned_len(&offer(""), &Inputs { payer: address(seed), ..inputs() });
    assert!(as_payer(2).is_ok());
    assert_eq!(as_payer(1), Err(UnsignedError::Offer(funds)));
    assert_eq!(as_payer(3), Err(UnsignedError::Offer(Reason::InvalidPaymentRequirements)));
    // One address cannot have two parts in a transaction.
    for versions in ["", r#","transactionVersions":[1]"#] {
        for part in [USDC, &TOKEN.to_string(), &MEMO.to_string()] {
            let offer = offer(versions).replace(FEE_PAYER, part);
            let refused = Err(UnsignedError::Offer(Reason::InvalidPaymentRequirements));
            assert_eq!(unsigned_len(&offer, &inputs()), refused, "{part}");
        }
    }
    // A facilitator may be paid with its own fee payer.
    let to_fee_payer = offer("").replace(PAY_TO, FEE_PAYER);
    let mut out = [0; PAYMENT_BYTES];
    let tx = pay(&to_fee_payer, &inputs(), &mut out).unwrap();
    assert_eq!(code(verify(&to_fee_payer, tx)), VALID);
}

#[test]
fn blockhashes() {
    let offered = |value: &str| offer(&format!(r#","recentBlockhash":{value}"#));
    let good = base58::decode(BLOCKHASH).unwrap();
    let supplied = inputs();
    let none = Inputs { blockhash: None, ..supplied };
    for (text, found) in [
        (offer(""), None),
        (offered(&format!("\"{BLOCKHASH}\"")), Some(good)),
        (offered("null"), None),
        (offered("7"), None),
        (offered("\"\""), None),
        (offered("\"abc\""), None),
        (offered(&format!("\"{BLOCKHASH}1\"")), None),
        (offered(&format!("\"{BLOCKHASH} \"")), None),
        (offered(&format!("\"0{}\"", &BLOCKHASH[1..])), None),
    ] {
        let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
        assert_eq!(offered_blockhash(&offer), found, "{text}");
        for (inputs, expected) in [
            (&supplied, Ok(found.unwrap_or([8; 32]))),
            (&none, found.ok_or(UnsignedError::NoBlockhash)),
        ] {
            let mut out = [0; PAYMENT_BYTES];
            let used = pay(&text, inputs, &mut out)
                .map(|tx| *Transaction::parse(tx).unwrap().message().lifetime());
            assert_eq!(used, expected, "{text}");
        }
    }
}

/// The longest memo, in either version, fits the sizes promised; one byte less than needed is told.
#[test]
fn buffers() {
    let memo = "m".repeat(256);
    for (versions, len) in [("[0]", 721), ("[1]", 680)] {
        let extra = format!(r#","transactionVersions":{versions},"memo":"{memo}""#);
        let text = offer(&extra);
        let needed = unsigned_len(&text, &inputs()).unwrap();
        assert_eq!(needed, len);
        let small = |needed: usize| EncodeError::BufferTooSmall {
            needed: NonZeroU32::new(u32::try_from(needed).unwrap()).unwrap(),
        };
        let mut out = [0xff; PAYMENT_BYTES];
        for room in 0..needed {
            let told = pay(&text, &inputs(), &mut out[..room]).unwrap_err();
            assert_eq!(told, UnsignedError::Encode(small(needed)), "{room}");
        }
        let tx = pay(&text, &inputs(), &mut out[..needed]).unwrap();
        assert_eq!(code(verify(&text, tx)), VALID);

        let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
        let payload = |payload: &mut [u8]| -> Result<usize, EncodeError> {
            let mut out = [0; PAYMENT_BYTES];
            let unsigned = SvmUnsigned::new(&offer, &inputs(), &Dalek, &mut out).unwrap();
            let signature = Signer::sign(&key(2), unsigned.message()).unwrap();
            let written = unsigned.payload(&signature, payload)?;
            let transaction = RawJson::parse(written.as_str().as_bytes()).unwrap();
            assert!(
                transaction.get_string("transaction").is_some_and(|text| text == *base64_of(tx))
            );
            Ok(written.as_str().len())
        };
        let mut room = [0; PAYLOAD_BYTES];
        let len = payload(&mut room).unwrap();
        assert_eq!(payload(&mut room[..len]), Ok(len));
        for less in 0..len {
            assert_eq!(payload(&mut room[..less]), Err(small(len)), "{less}");
        }
    }
}

/// Two payments of one offer are two, if the nonces are, also where the offer sets the memo.
#[test]
fn claims() {
    let claim = |offer: &str, nonce: u8, blockhash: u8| {
        let (nonce, blockhash) = ([nonce; 16], Some([blockhash; 32]));
        let mut out = [0; PAYMENT_BYTES];
        let tx = pay(offer, &Inputs { nonce, blockhash, ..inputs() }, &mut out).unwrap();
        verify(offer, tx).unwrap().claim_key()
    };
    let extras = ["", r#","transactionVersions":[1]"#, r#","memo":"order-42""#];
    for offer in extras.map(offer) {
        assert_eq!(claim(&offer, 1, 1), claim(&offer, 1, 1));
        assert_ne!(claim(&offer, 1, 1), claim(&offer, 2, 1));
        assert_ne!(claim(&offer, 1, 1), claim(&offer, 1, 2));
    }
    // The message is what SvmUnsigned gave to be signed.
    let text = offer("");
    let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
    let mut out = [0; PAYMENT_BYTES];
    let unsigned = SvmUnsigned::new(&offer, &inputs(), &Dalek, &mut out).unwrap();
    let hash = sha256(&[unsigned.message()]);
    let memo = Message::parse(unsigned.message()).unwrap().instructions().nth(3).unwrap().data;
    assert_eq!(memo, b"09090909090909090909090909090909");
    let signature = Signer::sign(&key(2), unsigned.message()).unwrap();
    let payment = verify(&text, unsigned.sign(&signature)).unwrap();
    assert_eq!(payment.claim_key().as_bytes(), &hash);
}
