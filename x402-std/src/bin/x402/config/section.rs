//! Tables of the configuration, key by key.

use std::cell::RefCell;
use std::env;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use toml::{Table, Value};
use x402_std::core::{Amount, Money, Network};
use x402_std::facilitator::ledger::Commitment;
use x402_std::facilitator::{Acceptance, AcceptedAsset, Least, Payee};
use x402_std::message::NetworkId;

use x402_std::{evm, exposed};
use zeroize::Zeroizing;

use super::{BASE_FEE, Evm, FILE_BYTES, Svm};
use crate::input;

/// Longest time that can be set.
const MAX_SECONDS: u64 = 3600;

/// A text that is wiped when it is dropped.
pub(crate) type Secret = Zeroizing<String>;

fn trimmed(secret: &str) -> Secret {
    Zeroizing::new(secret.trim().to_owned())
}

/// A table of the configuration. Its reader takes every known key out.
pub(super) struct Section<'a> {
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) mistakes: &'a RefCell<Vec<String>>,
}

impl Section<'_> {
    pub(super) fn wrong(&self, key: &str, what: &str) {
        let place = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        self.mistakes.borrow_mut().push(format!("{place}{key}: {what}"));
    }

    pub(super) fn missing(&self, key: &str) {
        self.wrong(key, "missing: set it");
    }

    /// Names the keys that are left: they are misspelt, or of another version.
    pub(super) fn finish(mut self) {
        for key in std::mem::take(&mut self.table).keys() {
            self.wrong(key, "no such key here: correct or remove it");
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key) {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.wrong(key, "not a text: put it in quotes");
                None
            }
            None => None,
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let texts = match self.table.remove(key)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => {
                values.into_iter().map(|value| value.as_str().map(String::from)).collect()
            }
            _ => None,
        };
        if texts.is_none() {
            self.wrong(key, "not a list of texts, such as [\"a\", \"b\"]");
        }
        texts
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.table.remove(key) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.wrong(key, "not a flag: write true or false");
                false
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.table.remove(key) else { return default };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.wrong(
                key,
                &format!("not a whole number from {} to {}", range.start(), range.end()),
            );
            default
        })
    }

    pub(super) fn count(&mut self, key: &str, default: u32) -> usize {
        usize::try_from(self.number(key, 1..=1_000_000, default.into())).unwrap_or(usize::MAX)
    }

    pub(super) fn seconds(&mut self, key: &str, default: u64) -> Duration {
        Duration::from_secs(self.number(key, 1..=MAX_SECONDS, default))
    }

    /// The place of the given word among `words`; 0 if none is given.
    pub(super) fn one_of(&mut self, key: &str, words: &[&str]) -> usize {
        let Some(word) = self.text(key) else { return 0 };
        words.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.wrong(key, &format!("unknown word: write one of {}", words.join(", ")));
            0
        })
    }

    pub(super) fn table(&mut self, key: &str) -> Table {
        match self.table.remove(key) {
            Some(Value::Table(table)) => table,
            None => Table::new(),
            Some(_) => {
                self.wrong(key, &format!("not a table: write [{key}]"));
                Table::new()
            }
        }
    }

    pub(super) fn tables(&mut self, key: &str) -> Vec<Table> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let tables = match value {
            Value::Array(values) => {
                values.into_iter().map(|value| value.as_table().cloned()).collect()
            }
            _ => None,
        };
        tables.unwrap_or_else(|| {
            self.wrong(key, &format!("not a list of tables: write [[{key}]]"));
            Vec::new()
        })
    }

    /// Secrets, from the variables that `KEY_env` names and the files that `KEY_file` names.
    fn secrets(&mut self, key: &str) -> Option<Vec<Secret>> {
        let (env, file) = (format!("{key}_env"), format!("{key}_file"));
        let (names, paths) = (self.texts(&env), self.texts(&file));
        let mut secrets = Vec::new();
        for name in names.iter().flatten() {
            match env::var(name) {
                Ok(secret) => secrets.push(trimmed(&Zeroizing::new(secret))),
                Err(_) => self.wrong(&env, "the variable it names is not set to a text: set it"),
            }
        }
        for path in paths.iter().flatten() {
            // Others may read it: some systems mount secrets so.
            if let Err(exposed) = exposed::check(Path::new(path), false) {
                self.wrong(&file, &exposed.to_string());
            }
            let bytes = input::secret_file(Path::new(path), FILE_BYTES);
            match bytes.as_ref().map(|bytes| str::from_utf8(bytes)) {
                Ok(Ok(secret)) => secrets.push(trimmed(secret)),
                _ => {
                    self.wrong(&file, "the file it names cannot be read as a text: check its path")
                }
            }
        }
        if self.table.remove(key).is_some() {
            self.wrong(
                key,
                &format!("secrets cannot be given here: name the place in {env} or {file}"),
            );
        }
        (names.is_some() || paths.is_some()).then_some(secrets)
    }

    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        match self.secrets(key) {
            Some(mut secrets) => {
                if secrets.len() > 1 {
                    self.wrong(key, "more than one: give one only");
                }
                secrets.pop()
            }
            None => {
                self.wrong(key, &format!("missing: name its place in {key}_env or {key}_file"));
                None
            }
        }
    }

    /// Tokens of callers, none or more. One variable or file may hold several, separated by white space.
    pub(super) fn tokens(&mut self) -> Vec<String> {
        let Some(secrets) = self.secrets("token") else { return Vec::new() };
        let split = |secret: &Secret| secret.split_whitespace().map(String::from).collect();
        let tokens: Vec<Vec<String>> = secrets.iter().map(split).collect();
        // Without a token the service would be open to everybody.
        if tokens.is_empty() || tokens.iter().any(Vec::is_empty) {
            self.wrong("token", "empty: put a token into its place");
        }
        let tokens = tokens.concat();
        if !tokens.iter().all(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
            self.wrong("token", "not a text of visible ASCII characters");
        }
        tokens
    }

    /// The payments that are accepted.
    pub(super) fn acceptance(mut self) -> Acceptance {
        let mut acceptance = Acceptance::known();
        if let Some(texts) = self.texts("payees") {
            let payees: Option<Vec<_>> = texts.iter().map(|text| Payee::parse(text)).collect();
            match payees {
                Some(payees) if !payees.is_empty() => acceptance = acceptance.with_payees(payees),
                _ => self.wrong("payees", "not a list of EVM or Solana addresses"),
            }
        }
        let mut unknown_decimals = false;
        if let Some(texts) = self.texts("assets") {
            let (mut known, mut any, mut listed) = (false, false, Vec::new());
            for text in &texts {
                match (text.as_str(), AcceptedAsset::parse(text)) {
                    ("known", _) => known = true,
                    ("any", _) => any = true,
                    (_, Some(asset)) => listed.push(asset),
                    (_, None) => self.wrong(
                        "assets",
                        "not a list of \"known\", \"any\" and tokens, such as eip155:8453/0x...:6",
                    ),
                }
            }
            unknown_decimals = any || listed.iter().any(|asset| asset.decimals().is_none());
            if texts.is_empty() || (any && texts.len() > 1) {
                self.wrong("assets", "write [\"any\"] alone, or a list of tokens");
            }
            acceptance = match any {
                true => acceptance.with_any_asset(),
                false => acceptance.with_assets(known, listed),
            };
        }
        if let Some(text) = self.text("min_amount") {
            let least = match text.strip_prefix('$') {
                Some(_) => Money::parse(&text).map(Least::Money),
                None => Amount::parse(&text).map(Least::Units),
            };
            match least {
                Ok(Least::Money(_)) if unknown_decimals => self.wrong(
                    "min_amount",
                    "money, but some tokens are accepted without decimals: list them in assets",
                ),
                Ok(least) => acceptance = acceptance.with_least(least),
                Err(_) => {
                    self.wrong(
                        "min_amount",
                        "not an amount: write money, such as \"$0.001\", or units",
                    );
                }
            }
        }
        self.finish();
        acceptance
    }

    fn keys(&mut self) -> Vec<Secret> {
        self.secrets("key").unwrap_or_else(|| {
            self.wrong("key", "missing: name its place in key_env or key_file");
            Vec::new()
        })
    }

    /// URLs of nodes. A URL with more than a host in it may be a secret: it comes from a variable or file.
    fn rpc(&mut self) -> Vec<String> {
        let plain = match self.table.get("rpc") {
            Some(_) => self.texts("rpc").unwrap_or_default(),
            None => Vec::new(),
        };
        for url in &plain {
            let host = url.split_once("://").map_or("", |(_, host)| host.trim_end_matches('/'));
            if !url.contains("://") {
                self.wrong("rpc", "not a URL, such as https://node.example");
            } else if host.is_empty() || host.contains(['/', '?', '@', '#']) {
                self.wrong(
                    "rpc",
                    "a URL with more than a host may be secret: name its place in rpc_env or rpc_file",
                );
            }
        }
        let mut all = plain;
        // A line has one or several.
        let secret = self.secrets("rpc").unwrap_or_default();
        all.extend(secret.iter().flat_map(|urls| urls.split_whitespace().map(String::from)));
        if all.is_empty() {
            self.wrong("rpc", "missing: set rpc, rpc_env or rpc_file");
        }
        // One node is one witness.
        let bare = |url: &String| url.trim_end_matches('/').to_ascii_lowercase();
        if all
            .iter()
            .enumerate()
            .any(|(place, url)| all.iter().take(place).any(|other| bare(other) == bare(url)))
        {
            self.wrong("rpc", "a node is given twice: remove one");
        }
        all
    }

    fn network(&mut self) -> Option<NetworkId> {
        let Some(text) = self.text("network") else {
            self.missing("network");
            return None;
        };
        let network = Network::parse(&text).ok().map(NetworkId::from);
        if network.is_none() {
            self.wrong("network", "not a network, such as eip155:8453");
        }
        network
    }

    pub(super) fn evm(mut self) -> Option<Evm> {
        let network = self.network();
        let chain_id = network.as_ref().and_then(|network| network.as_view().eip155());
        if network.is_some() && chain_id.is_none() {
            self.wrong("network", "not an EVM network, such as eip155:8453");
        }
        let evm = Evm {
            chain_id: chain_id.unwrap_or(0),
            rpc: self.rpc(),
            keys: self.keys(),
            confirmations: self.number("confirmations", 1..=1000, 1),
            witnesses: self.count("witnesses", 1),
            confirm: self.seconds("confirm_seconds", 60),
            max_fee_gwei: self.number("max_fee_gwei", 1..=1_000_000, 100),
            max_priority_fee_gwei: self.number("max_priority_fee_gwei", 0..=1_000_000, 3),
            max_gas: self.number("max_gas", 50_000..=10_000_000, 300_000),
            legacy: self.flag("legacy", false),
            settled_by_strangers: self.flag("settled_by_strangers", false),
            factories: self.addresses("factories"),
            max_proof_age: Duration::from_secs(self.number(
                "max_proof_age_seconds",
                0..=evm::MAX_PROOF_AGE_SECONDS,
                0,
            )),
            transactions_at_once: self.count("transactions_at_once", 16),
            failed_after: self.number("failed_after_blocks", 0..=1000, 5),
            max_gas_lost: self.number("max_gas_lost", 0..=1_000_000_000, 1_500_000),
            coin_price: self.money("coin_price"),
        };
        if evm.witnesses > evm.rpc.len().max(1) {
            self.wrong("witnesses", "more than there are nodes: lower it");
        }
        if evm.max_priority_fee_gwei > evm.max_fee_gwei {
            self.wrong("max_priority_fee_gwei", "more than max_fee_gwei: lower it");
        }
        self.finish();
        chain_id.map(|_| evm)
    }

    fn money(&mut self, key: &str) -> Option<Money> {
        let text = self.text(key)?;
        let money = Money::parse(&text).ok();
        if money.is_none() {
            self.wrong(key, "not money, such as \"$3000\"");
        }
        money
    }

    fn addresses(&mut self, key: &str) -> Vec<evm::Address> {
        let texts = self.texts(key).unwrap_or_default();
        let addresses = texts.iter().map(|text| evm::Address::parse_typed(text)).collect();
        Option::unwrap_or_else(addresses, || {
            self.wrong(key, "not a list of EVM addresses");
            Vec::new()
        })
    }

    pub(super) fn svm(mut self) -> Option<Svm> {
        let network = self.network();
        let is_solana =
            network.as_ref().is_some_and(|network| network.as_view().solana().is_some());
        if network.is_some() && !is_solana {
            self.wrong("network", "not a Solana network: write solana: and a genesis hash");
        }
        let (rpc, keys) = (self.rpc(), self.keys());
        let commitment = match self.one_of("commitment", &["confirmed", "finalized"]) {
            0 => Commitment::Confirmed,
            _ => Commitment::Finalized,
        };
        let witnesses = self.count("witnesses", 1);
        if witnesses > rpc.len().max(1) {
            self.wrong("witnesses", "more than there are nodes: lower it");
        }
        let confirm = self.seconds("confirm_seconds", 60);
        let min_lamports = self.number("min_lamports", 0..=u64::MAX, 10_000_000);
        // The payer chooses the fee. Official clients pay one lamport above the base fee.
        let max_fee_lamports = self.number("max_fee_lamports", BASE_FEE..=1_000_000_000, 30_000);
        let max_compute_units = self.number("max_compute_units", 10_000..=1_400_000, 200_000);
        let max_compute_price = self.number("max_compute_price", 0..=1_000_000_000, 5_000_000);
        self.finish();
        Some(Svm {
            network: network.filter(|_| is_solana)?,
            rpc,
            keys,
            commitment,
            witnesses,
            confirm,
            min_lamports,
            max_fee_lamports,
            max_compute_units: u32::try_from(max_compute_units).unwrap_or(u32::MAX),
            max_compute_price,
        })
    }
}
