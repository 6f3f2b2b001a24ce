//! Any bytes as a facilitator's request: a payment passes the gate only if it pays the required
//! amount to the required payee and leaves the fee payer alone. Our verifier takes our buyer's
//! payments.

use x402_core::buyer::Wallet;
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::{Signer, Verify, sha256};
use x402_core::wire::{PaymentPayload, PaymentRequirements, VerifyRequest};
use x402_core::{Message, Payment, Reason, Scheme, Version, base64, gate};
use x402_svm::message::{
    Config, Draft, Header, Instruction, MessageVersion, TRANSACTION_V1_BYTES, Transaction,
};
use x402_svm::programs::{COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TOKEN, TOKEN_2022, TransferChecked};
use x402_svm::{
    Address, ExactSvm, ExactSvmWallet, Inputs, PAYLOAD_BYTES, PAYMENT_BYTES, REMEMBER_SECONDS,
    Rules, SvmPayment, SvmUnsigned, TokenProgram, associated_token_address, payer,
    read_transaction,
};

use crate::{Blind, Dice};

/// Any time will do: nothing about a transaction depends on a clock outside the chain.
const NOW: u64 = 1_795_300_000;

/// Takes any signature, so that the checks behind it are reached.
struct Gullible;

impl Verify for Gullible {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }

    fn is_point(&self, bytes: &[u8; 32]) -> bool {
        Dalek.is_point(bytes)
    }
}

/// The buyer's key in the corpus.
fn key() -> LocalKey {
    LocalKey::from_seed(&[2; 32])
}

/// The addresses of the payment in the corpus, and of the programs it calls.
const ADDRESSES: [&str; 8] = [
    "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9", // the fee payer
    "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", // the mint
    "6ndWAgFxMAVLobD8WrdBj5w41GrDeJYiQX91nNSrwkZp", // the account credited
    "9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu", // the payer
    "GyGKxMyg1p9SsHfm15MkNUu1u9TN2JtTspcdmrtGUdse", // the payee
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
    "ComputeBudget111111111111111111111111111111",
    "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr",
];

/// Every table has them, and itself.
fn resolve(table: Address, place: u8) -> Option<Address> {
    match ADDRESSES.get(usize::from(place)) {
        Some(text) => Address::parse(text),
        None => (place < 128).then_some(table),
    }
}

/// Panics if anything above is not so.
pub fn check(json: &[u8]) {
    let Ok(request) = VerifyRequest::parse(json) else { return };
    let VerifyRequest { payment_payload, payment_requirements, .. } = &request;
    let rules = Rules { resolve: Some(&resolve), ..Rules::default() };
    let ask = |rules| {
        let real = verdict(&ExactSvm::new(rules), payment_payload, payment_requirements);
        let gullible: ExactSvm<'_, Gullible> = ExactSvm::with_verify(Gullible, rules);
        let lax = verdict(&gullible, payment_payload, payment_requirements);
        // A wrong signature is all that the gullible one can miss.
        if real != Err(Reason::InvalidExactSvmPayloadSignatureInvalid) {
            assert_eq!(lax, real);
        }
        (lax, real.is_ok())
    };
    let (lax, real) = ask(rules);
    if let Ok(payment) = &lax {
        paid(payment, payment_payload, payment_requirements, real);
    }
    let (over, _) = ask(Rules { over_payment: true, ..rules });
    if lax != Err(Reason::InvalidExactSvmPayloadAmountMismatch) {
        assert_eq!(lax, over);
    } else if let Ok(payment) = over {
        assert!(Some(payment.amount) > payment_requirements.amount.as_u64());
    }
    // A verifier that can look up no address takes less, and nothing else.
    let (plain, _) = ask(Rules { resolve: None, ..rules });
    if plain != Err(Reason::InvalidExactSvmSmartWalletAltResolutionNotAvailable) {
        assert_eq!(plain, lax);
    }
    escaped(json, payment_payload, &lax);
    pay(payment_payload, payment_requirements);
}

fn verdict<V: Verify>(
    scheme: &ExactSvm<'_, V>,
    payload: &PaymentPayload<'_>,
    requirements: &PaymentRequirements<'_>,
) -> Result<SvmPayment, Reason> {
    gate::verify(scheme, payload, requirements, NOW).map(gate::Verified::into_payment)
}

/// A payment that passed pays.
fn paid(
    payment: &SvmPayment,
    payload: &PaymentPayload<'_>,
    requirements: &PaymentRequirements<'_>,
    real: bool,
) {
    let PaymentRequirements { amount, asset, pay_to, extra, .. } = requirements;
    assert!(payload.scheme() == "exact" && requirements.scheme == "exact");
    assert!(payload.network().is_same(requirements.network));
    assert_eq!(Some(payment.network.as_str()), requirements.network.solana());
    assert_eq!(asset.as_str().and_then(Address::parse), Some(payment.asset));
    assert_eq!(amount.as_u64(), Some(payment.amount));
    assert_ne!(payment.amount, 0);
    let pay_to = pay_to.as_str().and_then(Address::parse).unwrap();
    let program = payment.token_program;
    let expected = associated_token_address(&Dalek, pay_to, program, payment.asset);
    assert_eq!(expected, Some(payment.destination));
    let fee_payer = extra.unwrap().get_string("feePayer").unwrap();
    assert_eq!(fee_payer.as_str().and_then(Address::parse), Some(payment.fee_payer));
    assert_ne!(payment.fee_payer, payment.payer);
    assert_eq!(payment.expires_at(), NOW + REMEMBER_SECONDS);

    // As a chain would see the transaction.
    let mut scratch = [0; TRANSACTION_V1_BYTES];
    let bytes = read_transaction(payload.payload, &mut scratch).unwrap();
    let transaction = Transaction::parse(bytes).unwrap();
    let message = transaction.message();
    assert_eq!(payment.claim_key().as_bytes(), &sha256(&[message.as_bytes()]));
    assert_eq!(&payment.blockhash, message.lifetime());
    assert_eq!(message.key(0), Some(payment.fee_payer));
    assert!(!message.has_duplicate_key() && transaction.signatures().len() <= 2);
    if real && let [_, made] = transaction.signatures() {
        assert!(Dalek.verify(&message.keys()[1], message.as_bytes(), made));
    }
    assert_eq!(payer(message), Some(payment.payer));

    let account = |place: u8| {
        let (table, place) = match message.key(place) {
            Some(key) => return key,
            None => message.looked_up(place).unwrap(),
        };
        resolve(table, place).unwrap()
    };
    let mut transfers = Vec::new();
    for instruction in message.instructions() {
        assert!(instruction.accounts.iter().all(|place| account(*place) != payment.fee_payer));
        let program = message.key(instruction.program).unwrap();
        if [TOKEN, TOKEN_2022].contains(&program) {
            let transfer = TransferChecked::parse(instruction.accounts, instruction.data).unwrap();
            transfers.push((TokenProgram::at(program).unwrap(), transfer));
        } else {
            assert!([COMPUTE_BUDGET, MEMO, LIGHTHOUSE].contains(&program));
        }
    }
    let [(program, transfer)] = transfers[..] else { panic!("{} transfers", transfers.len()) };
    assert_eq!((program, transfer.amount), (payment.token_program, payment.amount));
    let [source, mint, destination, authority] = transfer.accounts().map(account);
    assert_eq!((source, mint), (payment.source, payment.asset));
    assert_eq!((destination, authority), (payment.destination, payment.payer));
    assert_eq!(transfer.authority, 1, "signs");
}

/// A transaction with escaped slashes is the same.
fn escaped(json: &[u8], payload: &PaymentPayload<'_>, verdict: &Result<SvmPayment, Reason>) {
    let text = payload.payload.get_string("transaction").and_then(|text| text.as_str());
    let Some(text) = text.filter(|text| text.contains('/')) else { return };
    let json = core::str::from_utf8(json).unwrap();
    let json = json.replacen(text, &text.replace('/', "\\/"), 1);
    if let Ok(request) = VerifyRequest::parse(json.as_bytes())
        && request.payment_payload.payload.get_string("transaction").unwrap().as_str().is_none()
    {
        let (mut one, mut other) = ([0; TRANSACTION_V1_BYTES], [0; TRANSACTION_V1_BYTES]);
        assert_eq!(
            read_transaction(request.payment_payload.payload, &mut one),
            read_transaction(payload.payload, &mut other)
        );
        let rules = Rules { resolve: Some(&resolve), ..Rules::default() };
        let gullible: ExactSvm<'_, Gullible> = ExactSvm::with_verify(Gullible, rules);
        let escaped = gullible.check(&request.payment_payload, &request.payment_requirements, NOW);
        assert_eq!(&escaped, verdict);
    }
}

/// Whatever the wallet says it pays is paid, and passes.
fn pay(payload: &PaymentPayload<'_>, offer: &PaymentRequirements<'_>) {
    let key = key();
    let inputs = Inputs {
        payer: Address(Signer::public_key(&key)),
        blockhash: Some([5; 32]),
        nonce: [9; 16],
        assets: &[],
    };
    let mut transaction = [0; PAYMENT_BYTES];
    let unsigned = SvmUnsigned::new(offer, &inputs, &Dalek, &mut transaction);
    let wallet = ExactSvmWallet::default();
    let pays = wallet.pays(offer) && wallet.pays_to(offer);
    let Ok(unsigned) = unsigned else {
        let pay_to = offer.pay_to.as_str().and_then(Address::parse);
        assert!(!pays || pay_to == Some(inputs.payer) || fee_payer_is_another(offer, &inputs));
        return;
    };
    assert!(pays);
    let signature = Signer::sign(&key, unsigned.message()).unwrap();
    let mut out = [0; PAYLOAD_BYTES];
    let written = unsigned.payload(&signature, &mut out).unwrap();
    if payload.x402_version() == Version::V2
        && offer.version() == Version::V2
        && payload.scheme() == "exact"
        && payload.network().is_same(offer.network)
    {
        let paid = PaymentPayload { payload: written, ..*payload };
        let verdict = verdict(&ExactSvm::default(), &paid, offer);
        assert!(verdict.is_ok_and(|paid| paid.payer == inputs.payer));
    }
}

/// Whether the one who pays the fee is also something else in the payment, which nobody can pay.
fn fee_payer_is_another(offer: &PaymentRequirements<'_>, inputs: &Inputs<'_>) -> bool {
    let fee_payer = offer.extra.and_then(|extra| extra.get_string("feePayer"));
    let fee_payer = fee_payer.and_then(|text| text.as_str()).and_then(Address::parse).unwrap();
    let mint = offer.asset.as_str().and_then(Address::parse).unwrap();
    let pay_to = offer.pay_to.as_str().and_then(Address::parse).unwrap();
    let accounts = [TokenProgram::Token, TokenProgram::Token2022].map(|program| {
        [inputs.payer, pay_to].map(|owner| associated_token_address(&Dalek, owner, program, mint))
    });
    [inputs.payer, mint, COMPUTE_BUDGET, MEMO, TOKEN, TOKEN_2022].contains(&fee_payer)
        || accounts.as_flattened().contains(&Some(fee_payer))
}

/// Changes an input in ways that leave more of it sound than blind ones do.
/// Three times of four an address or the transaction within the JSON is changed.
pub fn mutate(input: &[u8], max: usize, dice: &mut Dice, blind: &mut Blind<'_>) -> Vec<u8> {
    let changed = if dice.one_in(4) { None } else { change(input, dice, blind) };
    changed.filter(|json| json.len() <= max).unwrap_or_else(|| blind(input, max))
}

fn change(json: &[u8], dice: &mut Dice, blind: &mut Blind<'_>) -> Option<Vec<u8>> {
    let request = VerifyRequest::parse(json).ok()?;
    if dice.one_in(8) {
        let PaymentRequirements { asset, pay_to, extra, .. } = request.payment_requirements;
        let mut known = vec![asset.as_str()?, pay_to.as_str()?];
        known.push(extra?.get_string("feePayer")?.as_str()?);
        let old = known[dice.below(known.len())];
        known.extend(ADDRESSES);
        let new = known[dice.below(known.len())];
        return Some(core::str::from_utf8(json).unwrap().replace(old, new).into_bytes());
    }
    let payload = request.payment_payload.payload;
    let text = payload.get_string("transaction")?.as_str().filter(|text| text.is_ascii())?;
    let json = core::str::from_utf8(json).unwrap();
    if dice.one_in(16) {
        // The digits themselves.
        let mut changed = text.to_owned();
        let at = dice.below(text.len() + 1);
        changed.insert_str(at - at % 4, ["AA==", "AAA=", "A", "=", " ", "/"][dice.below(6)]);
        return Some(json.replacen(text, &changed, 1).into_bytes());
    }
    let mut scratch = [0; TRANSACTION_V1_BYTES];
    let bytes = read_transaction(payload, &mut scratch).ok()?;
    let mut changed = None;
    if !dice.one_in(4)
        && let Ok(transaction) = Transaction::parse(bytes)
    {
        let mut parts = Parts::of(transaction.message());
        parts.change(dice, blind);
        changed = parts.written();
    }
    let mut changed = changed.unwrap_or_else(|| blind(bytes, bytes.len() + 64));
    if !dice.one_in(8) {
        sign(&mut changed);
    }
    let mut buffer = vec![0; changed.len().div_ceil(3) * 4];
    let changed = base64::encode(&changed, &mut buffer).unwrap();
    Some(json.replacen(text, changed, 1).into_bytes())
}

/// A message taken apart; address tables get lost.
struct Parts {
    version: MessageVersion,
    header: Header,
    keys: Vec<Address>,
    lifetime: [u8; 32],
    config: Config,
    instructions: Vec<(u8, Vec<u8>, Vec<u8>)>,
}

impl Parts {
    fn of(message: &x402_svm::message::Message<'_>) -> Self {
        let instructions = message.instructions();
        Self {
            version: message.version(),
            header: message.header(),
            keys: message.keys().iter().copied().map(Address).collect(),
            lifetime: *message.lifetime(),
            config: message.config(),
            instructions: instructions
                .map(|one| (one.program, one.accounts.to_vec(), one.data.to_vec()))
                .collect(),
        }
    }

    fn change(&mut self, dice: &mut Dice, blind: &mut Blind<'_>) {
        if self.instructions.is_empty() {
            return;
        }
        let (one, other) =
            (dice.below(self.instructions.len()), dice.below(self.instructions.len()));
        let place = dice.below(self.keys.len() + 1) as u8;
        let (program, accounts, data) = &mut self.instructions[one];
        match dice.below(12) {
            0 | 1 => *data = blind(data, 64.max(data.len())),
            2 => *accounts = blind(accounts, 8.max(accounts.len())),
            3 if !accounts.is_empty() => {
                let at = dice.below(accounts.len());
                accounts[at] = place;
            }
            4 => *program = place,
            5 => self.instructions.swap(one, other),
            6 => {
                let copy = self.instructions[one].clone();
                self.instructions.insert(other, copy);
            }
            7 => drop(self.instructions.remove(one)),
            8 => {
                let known = [TOKEN, TOKEN_2022, MEMO, LIGHTHOUSE, COMPUTE_BUDGET, self.keys[0]];
                let at = dice.below(self.keys.len());
                self.keys[at] = known[dice.below(known.len())];
            }
            9 => {
                let (one, other) = (dice.below(self.keys.len()), dice.below(self.keys.len()));
                self.keys.swap(one, other);
            }
            10 => {
                let versions = [MessageVersion::Legacy, MessageVersion::V0, MessageVersion::V1];
                self.version = versions[dice.below(3)];
                self.config.compute_units = Some(dice.below(500_000) as u32);
                self.config.loaded_accounts_bytes = Some(1 << 20);
                self.config.priority_fee =
                    [None, Some(dice.below(3_000_000) as u64)][dice.below(2)];
            }
            _ => {
                let Header { signers, readonly_signers, readonly_others } = &mut self.header;
                let number = [signers, readonly_signers, readonly_others];
                *number.into_iter().nth(dice.below(3)).unwrap() = dice.below(5) as u8;
            }
        }
    }

    fn written(&self) -> Option<Vec<u8>> {
        let instructions: Vec<_> = self
            .instructions
            .iter()
            .map(|(program, accounts, data)| Instruction { program: *program, accounts, data })
            .collect();
        let draft = Draft {
            version: self.version,
            header: self.header,
            keys: &self.keys,
            lifetime: &self.lifetime,
            config: self.config,
            instructions: &instructions,
        };
        let mut out = [0; TRANSACTION_V1_BYTES];
        draft.write(&mut out).ok().map(|unsigned| unsigned.into_bytes().to_vec())
    }
}

/// Puts in the buyer's signature wherever it belongs.
fn sign(bytes: &mut [u8]) {
    let Ok(transaction) = Transaction::parse(bytes) else { return };
    let message = transaction.message();
    let first = match message.version() {
        MessageVersion::V1 => message.as_bytes().len(),
        _ => 1,
    };
    let key = key();
    let own = Signer::public_key(&key);
    let signers = &message.keys()[..usize::from(message.header().signers)];
    let Some(place) = signers.iter().position(|signer| *signer == own) else { return };
    let signature = Signer::sign(&key, message.as_bytes()).unwrap();
    bytes[first + 64 * place..][..64].copy_from_slice(&signature);
}
