//! The configuration of a facilitator: TOML, in which no secret stands. Every mistake in it is
//! named; what was written is not repeated, it may be a secret in the wrong place.

use std::cell::RefCell;
use std::env;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};
use x402_std::core::{Amount, Money, Network};
use x402_std::evm;
use x402_std::facilitator::{
    Acceptance, AcceptedAsset, Callers, Hosts, Least, Payee, ServiceLimits,
};
use x402_std::ledger::Commitment;
use x402_std::message::NetworkId;

use crate::input;

/// As much of a file as is read.
pub(super) const FILE_BYTES: usize = 256 * 1024;

/// Longest time that can be asked for.
const MAX_SECONDS: u64 = 3600;

/// What is configured.
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    pub(super) log_json: bool,
    pub(super) connections: usize,
    pub(super) shutdown: Duration,
    pub(super) limits: ServiceLimits,
    pub(super) per_payer: usize,
    /// Threads that check signatures; none is to check them in place.
    pub(super) verifiers: usize,
    pub(super) smart_wallets: bool,
    pub(super) over_payment: bool,
    pub(super) callers: Callers,
    /// Whether a token is required.
    pub(super) has_token: bool,
    pub(super) acceptance: Acceptance,
    pub(super) store: Store,
    pub(super) evm: Vec<Evm>,
    pub(super) svm: Vec<Svm>,
}

/// Where claims are kept.
pub(super) enum Store {
    Memory { capacity: usize },
    Sqlite { path: PathBuf, capacity: usize, lease: Duration },
    Redis { url: String, lease: Duration },
}

/// An EVM network.
pub(super) struct Evm {
    pub(super) chain_id: u64,
    pub(super) rpc: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) confirmations: u64,
    pub(super) witnesses: usize,
    pub(super) confirm: Duration,
    pub(super) max_fee_gwei: u64,
    pub(super) max_priority_fee_gwei: u64,
    pub(super) max_gas: u64,
    pub(super) legacy: bool,
    pub(super) settled_by_strangers: bool,
    pub(super) factories: Vec<evm::Address>,
    pub(super) max_proof_age: Duration,
}

/// A Solana network.
pub(super) struct Svm {
    pub(super) network: NetworkId,
    pub(super) rpc: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) commitment: Commitment,
    pub(super) witnesses: usize,
    pub(super) confirm: Duration,
    pub(super) min_lamports: u64,
    pub(super) max_fee_lamports: u64,
    pub(super) max_compute_units: u32,
    pub(super) max_compute_price: u64,
}

/// The fee of a payment on Solana without a priority fee, in lamports: two signatures.
pub(super) const BASE_FEE: u64 = 10_000;

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every mistake, a line each.
    pub(super) fn read(text: &str) -> Result<Self, Vec<String>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(0, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
            vec![format!("line {line}: not TOML")]
        })?;
        let mistakes = RefCell::default();
        let section = |name: &str, table| Section { name: name.into(), table, mistakes: &mistakes };
        let mut top = section("", table);
        let listen = top.text("listen").unwrap_or_else(|| "127.0.0.1:4022".into());
        let listen = listen.parse().unwrap_or_else(|_| {
            top.wrong("listen", "not an address and port, such as 127.0.0.1:4022");
            SocketAddr::from(([127, 0, 0, 1], 4022))
        });
        let log = top.one_of("log", &["text", "json"]);
        let shutdown = top.seconds("shutdown_seconds", 90);
        let smart_wallets = top.flag("smart_wallets", true);
        let over_payment = top.flag("over_payment", false);
        let mut hosts = Hosts::of(listen);
        for name in top.texts("hosts").unwrap_or_default() {
            hosts = hosts.clone().with(&name).unwrap_or_else(|| {
                top.wrong("hosts", "not a list of names without ports, such as pay.example.com");
                hosts
            });
        }
        let tokens = top.tokens();
        let (store, limits) = (top.table("store"), top.table("limits"));
        let accept = top.table("accept");
        let (evm, svm) = (top.tables("evm"), top.tables("svm"));
        top.finish();

        let acceptance = section("accept", accept).acceptance();
        let mut store = section("store", store);
        let kind = store.one_of("kind", &["memory", "sqlite", "redis"]);
        let capacity = |store: &mut Section<'_>, default| {
            usize::try_from(store.number("capacity", 1..=1_000_000_000, default))
                .unwrap_or(usize::MAX)
        };
        let lease = |store: &mut Section<'_>| store.seconds("lease_seconds", 120);
        let kept = match kind {
            0 => Store::Memory { capacity: capacity(&mut store, 100_000) },
            1 => Store::Sqlite {
                path: store.text("path").map(PathBuf::from).unwrap_or_else(|| {
                    store.missing("path");
                    PathBuf::new()
                }),
                capacity: capacity(&mut store, 1_000_000),
                lease: lease(&mut store),
            },
            _ => Store::Redis {
                url: store.secret("url").unwrap_or_default(),
                lease: lease(&mut store),
            },
        };
        store.finish();

        let mut limits = section("limits", limits);
        let at_once = limits.number("at_once", 1..=100_000, 1024);
        let per_address = limits.count("per_address", 256);
        let per_payer = limits.count("per_payer", 64);
        let verifiers = limits.number("verifiers", 0..=256, 0);
        let connections = limits.count("connections", 4096);
        let arrival = limits.seconds("arrival_seconds", 10);
        limits.finish();
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        let limits = ServiceLimits { at_once, per_address, arrival };

        let named = |family: &str, tables: Vec<Table>| {
            let names = (1..).map(move |place| format!("{family} {place}"));
            names.zip(tables).map(|(name, table)| section(&name, table)).collect::<Vec<_>>()
        };
        let evm: Vec<Evm> = named("evm", evm).into_iter().filter_map(Section::evm).collect();
        let svm: Vec<Svm> = named("svm", svm).into_iter().filter_map(Section::svm).collect();
        let mut mistakes = mistakes.into_inner();
        for (place, chain) in evm.iter().enumerate() {
            if evm.iter().take(place).any(|other| other.chain_id == chain.chain_id) {
                mistakes.push(format!("evm {}: network: given twice", place + 1));
            }
        }
        for (place, cluster) in svm.iter().enumerate() {
            let same = |other: &Svm| other.network.view().is_same(cluster.network.view());
            if svm.iter().take(place).any(same) {
                mistakes.push(format!("svm {}: network: given twice", place + 1));
            }
        }
        let served = |network: Network<'_>| acceptance.serves(network);
        let no_token = "network: no token of it is accepted: [accept] assets lists them";
        for (place, chain) in evm.iter().enumerate() {
            if !Network::parse(&format!("eip155:{}", chain.chain_id)).is_ok_and(served) {
                mistakes.push(format!("evm {}: {no_token}", place + 1));
            }
        }
        for (place, cluster) in svm.iter().enumerate() {
            if !served(cluster.network.view()) {
                mistakes.push(format!("svm {}: {no_token}", place + 1));
            }
        }
        if evm.is_empty() && svm.is_empty() && mistakes.is_empty() {
            mistakes.push("no network: there is neither [[evm]] nor [[svm]]".into());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let (log_json, store) = (log == 1, kept);
        let callers = Callers::default().with_hosts(hosts);
        let callers = tokens.iter().fold(callers, |callers, token| callers.with_token(token));
        Ok(Self {
            listen,
            log_json,
            connections,
            shutdown,
            limits,
            per_payer,
            verifiers: usize::try_from(verifiers).unwrap_or(0),
            smart_wallets,
            over_payment,
            callers,
            has_token: !tokens.is_empty(),
            acceptance,
            store,
            evm,
            svm,
        })
    }
}

/// A table of the configuration, of which every key is to be asked for.
struct Section<'a> {
    name: String,
    table: Table,
    mistakes: &'a RefCell<Vec<String>>,
}

impl Section<'_> {
    fn wrong(&self, key: &str, what: &str) {
        let place = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        self.mistakes.borrow_mut().push(format!("{place}{key}: {what}"));
    }

    fn missing(&self, key: &str) {
        self.wrong(key, "missing");
    }

    /// What nobody asked for is a mistake: misspelt, or of another version.
    fn finish(mut self) {
        for key in std::mem::take(&mut self.table).keys() {
            self.wrong(key, "no such key here");
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key) {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.wrong(key, "not a text");
                None
            }
            None => None,
        }
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let texts = match self.table.remove(key)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => {
                values.into_iter().map(|value| value.as_str().map(String::from)).collect()
            }
            _ => None,
        };
        if texts.is_none() {
            self.wrong(key, "not a list of texts");
        }
        texts
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.table.remove(key) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.wrong(key, "neither true nor false");
                false
            }
        }
    }

    fn number(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.table.remove(key) else { return default };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.wrong(key, &format!("not a whole number of {} to {}", range.start(), range.end()));
            default
        })
    }

    fn count(&mut self, key: &str, default: u32) -> usize {
        usize::try_from(self.number(key, 1..=1_000_000, default.into())).unwrap_or(usize::MAX)
    }

    fn seconds(&mut self, key: &str, default: u64) -> Duration {
        Duration::from_secs(self.number(key, 1..=MAX_SECONDS, default))
    }

    /// The place of a word among several; the first one's if it is not given.
    fn one_of(&mut self, key: &str, words: &[&str]) -> usize {
        let Some(word) = self.text(key) else { return 0 };
        words.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.wrong(key, &format!("none of {}", words.join(", ")));
            0
        })
    }

    fn table(&mut self, key: &str) -> Table {
        match self.table.remove(key) {
            Some(Value::Table(table)) => table,
            None => Table::new(),
            Some(_) => {
                self.wrong(key, &format!("not a table: [{key}]"));
                Table::new()
            }
        }
    }

    fn tables(&mut self, key: &str) -> Vec<Table> {
        let Some(value) = self.table.remove(key) else { return Vec::new() };
        let tables = match value {
            Value::Array(values) => {
                values.into_iter().map(|value| value.as_table().cloned()).collect()
            }
            _ => None,
        };
        tables.unwrap_or_else(|| {
            self.wrong(key, &format!("not a list of tables: [[{key}]]"));
            Vec::new()
        })
    }

    /// Secrets, out of the variables that `KEY_env` names or the files that `KEY_file` does.
    fn secrets(&mut self, key: &str) -> Option<Vec<String>> {
        let (env, file) = (format!("{key}_env"), format!("{key}_file"));
        let (names, paths) = (self.texts(&env), self.texts(&file));
        let mut secrets = Vec::new();
        for name in names.iter().flatten() {
            match env::var(name) {
                Ok(secret) => secrets.push(secret.trim().into()),
                Err(_) => self.wrong(&env, "the variable it names is not set to a text"),
            }
        }
        for path in paths.iter().flatten() {
            match input::file(Path::new(path), FILE_BYTES).map(String::from_utf8) {
                Ok(Ok(secret)) => secrets.push(secret.trim().into()),
                _ => self.wrong(&file, "the file it names cannot be read"),
            }
        }
        if self.table.remove(key).is_some() {
            self.wrong(key, &format!("a secret does not stand here: {env} or {file} says where"));
        }
        (names.is_some() || paths.is_some()).then_some(secrets)
    }

    fn secret(&mut self, key: &str) -> Option<String> {
        match self.secrets(key) {
            Some(mut secrets) => {
                if secrets.len() > 1 {
                    self.wrong(key, "more than one");
                }
                secrets.pop()
            }
            None => {
                self.wrong(key, &format!("missing: {key}_env or {key}_file says where it is"));
                None
            }
        }
    }

    /// Tokens of callers, of which there may be none. In a variable or file there may be several.
    fn tokens(&mut self) -> Vec<String> {
        let Some(secrets) = self.secrets("token") else { return Vec::new() };
        let split = |secret: &String| secret.split_whitespace().map(String::from).collect();
        let tokens: Vec<Vec<String>> = secrets.iter().map(split).collect();
        // Otherwise it would be open to everybody.
        if tokens.is_empty() || tokens.iter().any(Vec::is_empty) {
            self.wrong("token", "empty");
        }
        let tokens = tokens.concat();
        if !tokens.iter().all(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
            self.wrong("token", "not a text of ASCII characters");
        }
        tokens
    }

    /// What is taken on.
    fn acceptance(mut self) -> Acceptance {
        let mut acceptance = Acceptance::known();
        if let Some(texts) = self.texts("payees") {
            let payees: Option<Vec<_>> = texts.iter().map(|text| Payee::parse(text)).collect();
            match payees {
                Some(payees) if !payees.is_empty() => acceptance = acceptance.with_payees(payees),
                _ => self.wrong("payees", "not a list of addresses"),
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
                self.wrong("assets", "neither \"any\" alone nor a list of tokens");
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
                    "money, but not of every token the decimals are known: assets says them",
                ),
                Ok(least) => acceptance = acceptance.with_least(least),
                Err(_) => {
                    self.wrong("min_amount", "neither money, such as \"$0.001\", nor units");
                }
            }
        }
        self.finish();
        acceptance
    }

    fn keys(&mut self) -> Vec<String> {
        self.secrets("key").unwrap_or_else(|| {
            self.wrong("key", "missing: key_env or key_file says where it is");
            Vec::new()
        })
    }

    /// URLs of nodes. Those with more than a host in them may be secrets, and do not stand here.
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
                    "a URL with more than a host in it: rpc_env or rpc_file says where",
                );
            }
        }
        let mut all = plain;
        // One in a line or several.
        let secret = self.secrets("rpc").unwrap_or_default();
        all.extend(secret.iter().flat_map(|urls| urls.split_whitespace().map(String::from)));
        if all.is_empty() {
            self.missing("rpc");
        }
        // One node is one witness.
        let bare = |url: &String| url.trim_end_matches('/').to_ascii_lowercase();
        if all
            .iter()
            .enumerate()
            .any(|(place, url)| all.iter().take(place).any(|other| bare(other) == bare(url)))
        {
            self.wrong("rpc", "a node given twice");
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

    fn evm(mut self) -> Option<Evm> {
        let network = self.network();
        let chain_id = network.as_ref().and_then(|network| network.view().eip155());
        if network.is_some() && chain_id.is_none() {
            self.wrong("network", "not an EVM network: eip155 and a chain id");
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
        };
        if evm.witnesses > evm.rpc.len().max(1) {
            self.wrong("witnesses", "more than there are nodes");
        }
        if evm.max_priority_fee_gwei > evm.max_fee_gwei {
            self.wrong("max_priority_fee_gwei", "more than max_fee_gwei");
        }
        self.finish();
        chain_id.map(|_| evm)
    }

    fn addresses(&mut self, key: &str) -> Vec<evm::Address> {
        let texts = self.texts(key).unwrap_or_default();
        let addresses = texts.iter().map(|text| evm::Address::parse_typed(text)).collect();
        Option::unwrap_or_else(addresses, || {
            self.wrong(key, "not a list of addresses");
            Vec::new()
        })
    }

    fn svm(mut self) -> Option<Svm> {
        let network = self.network();
        let is_solana = network.as_ref().is_some_and(|network| network.view().solana().is_some());
        if network.is_some() && !is_solana {
            self.wrong("network", "not a Solana network: solana and a genesis hash");
        }
        let (rpc, keys) = (self.rpc(), self.keys());
        let commitment = match self.one_of("commitment", &["confirmed", "finalized"]) {
            0 => Commitment::Confirmed,
            _ => Commitment::Finalized,
        };
        let witnesses = self.count("witnesses", 1);
        if witnesses > rpc.len().max(1) {
            self.wrong("witnesses", "more than there are nodes");
        }
        let confirm = self.seconds("confirm_seconds", 60);
        let min_lamports = self.number("min_lamports", 0..=u64::MAX, 10_000_000);
        // The buyer chooses the fee. Official clients pay one lamport above the base fee.
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
