//! The configuration of a facilitator: TOML without secrets. Every mistake in it is named. The text
//! of the file is never repeated: a secret may be in the wrong place.

mod section;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Table;
use x402_std::core::{Money, Network};
use x402_std::evm;
use x402_std::facilitator::ledger::Commitment;
use x402_std::facilitator::{Acceptance, Callers, Hosts, ServiceLimits};
use x402_std::message::NetworkId;
use x402_std::store::RedisStore;

use section::{Secret, Section};

/// Most bytes that are read of a file.
pub(super) const FILE_BYTES: usize = 256 * 1024;

/// A configuration.
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    pub(super) log_json: bool,
    pub(super) connections: usize,
    pub(super) shutdown: Duration,
    pub(super) limits: ServiceLimits,
    pub(super) per_payer: usize,
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
    Redis { url: Secret, lease: Duration },
}

/// An EVM network.
pub(super) struct Evm {
    pub(super) chain_id: u64,
    pub(super) rpc: Vec<String>,
    pub(super) keys: Vec<Secret>,
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
    pub(super) transactions_at_once: usize,
    pub(super) failed_after: u64,
    pub(super) max_gas_lost: u64,
    pub(super) coin_price: Option<Money>,
}

/// A Solana network.
pub(super) struct Svm {
    pub(super) network: NetworkId,
    pub(super) rpc: Vec<String>,
    pub(super) keys: Vec<Secret>,
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
    /// All mistakes, a line each.
    pub(super) fn read(text: &str) -> Result<Self, Vec<String>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(0, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
            vec![format!("line {line}: not TOML: correct its syntax")]
        })?;
        let mistakes = RefCell::default();
        let section = |name: &str, table| Section { name: name.into(), table, mistakes: &mistakes };
        let mut top = section("", table);
        let listen = top.text("listen").unwrap_or_else(|| "127.0.0.1:4022".into());
        let listen = listen.parse().unwrap_or_else(|_| {
            top.wrong("listen", "not an address with a port, such as 127.0.0.1:4022");
            SocketAddr::from(([127, 0, 0, 1], 4022))
        });
        let log = top.one_of("log", &["text", "json"]);
        let shutdown = top.seconds("shutdown_seconds", 90);
        let smart_wallets = top.flag("smart_wallets", false);
        let over_payment = top.flag("over_payment", false);
        let mut hosts = Hosts::of(listen);
        for name in top.texts("hosts").unwrap_or_default() {
            hosts = hosts.clone().with(&name).unwrap_or_else(|| {
                top.wrong("hosts", "not a list of names without port, such as pay.example.com");
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
            _ => {
                let url = store.secret("url").unwrap_or_default();
                if !url.is_empty() && !RedisStore::is_address(&url) {
                    store.wrong(
                        "url",
                        "not the URL of a Redis server: write \
                         redis://[[user]:password@]host[:port][/database], rediss:// for TLS, \
                         or unix:///path",
                    );
                }
                Store::Redis { url, lease: lease(&mut store) }
            }
        };
        store.finish();

        let mut limits = section("limits", limits);
        let at_once = limits.number("at_once", 1..=100_000, 1024);
        let per_address = limits.count("per_address", 256);
        let per_payer = limits.count("per_payer", 64);
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
                mistakes.push(format!("evm {}: network: given twice: remove one", place + 1));
            }
        }
        for (place, cluster) in svm.iter().enumerate() {
            let same = |other: &Svm| other.network.as_view().is_same(cluster.network.as_view());
            if svm.iter().take(place).any(same) {
                mistakes.push(format!("svm {}: network: given twice: remove one", place + 1));
            }
        }
        let served = |network: Network<'_>| acceptance.serves(network);
        let no_token = "network: no token of it is accepted: add one to assets in [accept]";
        for (place, chain) in evm.iter().enumerate() {
            if !Network::parse(&format!("eip155:{}", chain.chain_id)).is_ok_and(served) {
                mistakes.push(format!("evm {}: {no_token}", place + 1));
            }
        }
        for (place, cluster) in svm.iter().enumerate() {
            if !served(cluster.network.as_view()) {
                mistakes.push(format!("svm {}: {no_token}", place + 1));
            }
        }
        let in_memory = matches!(kept, Store::Memory { .. });
        for (place, chain) in evm.iter().enumerate() {
            if in_memory && !chain.max_proof_age.is_zero() {
                mistakes.push(format!(
                    "evm {}: max_proof_age_seconds: claims in memory are lost at a restart, and every \
                     transfer could pay again: give [store] the kind sqlite or redis",
                    place + 1
                ));
            }
        }
        if evm.is_empty() && svm.is_empty() && mistakes.is_empty() {
            mistakes.push("no network: add [[evm]] or [[svm]]".into());
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
