//! A facilitator that settles on chains, as configured.

mod readiness;

use std::future::ready as ready_now;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::routing::get;
use reqwest::Url;
use tokio::time::{sleep, timeout};
use x402_std::SystemClock;
use x402_std::core::crypto::{ed25519, secp256k1};
use x402_std::facilitator::ledger::{EvmChain, EvmLedger, Networks, SvmLedger, SvmSettings};
use x402_std::facilitator::{LocalFacilitator, Service};
use x402_std::rpc::Nodes;
use x402_std::scheme::{ExactOnEvm, ExactOnSvm};
use x402_std::store::{ClaimStore, MemoryStore, RedisStore, SqliteStore};
use x402_std::svm::Limits;

use crate::config::{BASE_FEE, Config, Evm, Store, Svm};
use crate::listen::Listen;
use crate::log::{self, Format};
use crate::metrics::{Counted, Metrics};
use crate::{Exit, Failure, Outcome, key, talk};
use readiness::Readiness;

/// Prefix of every key of this service in Redis.
const PREFIX: &str = "x402:settle:";

/// Longest wait at the start for the work that an earlier process left behind.
const AT_START: Duration = Duration::from_secs(5);

/// Interval between looks at how full the store is.
const WATCH: Duration = Duration::from_secs(10);

/// One gwei in wei.
const GWEI: u128 = 1_000_000_000;

type Ledgers = (EvmLedger<secp256k1::LocalKey>, Vec<SvmLedger<ed25519::LocalKey>>);

/// Serves until it is asked to stop; with `check`, only checks the configuration.
pub(crate) async fn run(config: Config, check: bool) -> Outcome {
    log::write_as(if config.log_json { Format::Json } else { Format::Text });
    let (evm, svm) = ledgers(&config)?;
    if check {
        talk("the configuration is valid");
        return Ok(Exit::Yes);
    }
    let metrics = Metrics::new().map_err(Failure::refused)?;
    log::start(Some(metrics.warnings.clone()));
    let ledgers = (evm, svm);
    match &config.store {
        Store::Memory { capacity } => {
            let store = MemoryStore::new(*capacity);
            serve(&config, metrics, ledgers, store).await
        }
        Store::Sqlite { path, capacity, lease } => {
            let store = SqliteStore::open(path);
            let store = store.map_err(|error| {
                Failure::refused(format_args!("store: sqlite {}: {error}", path.display()))
            })?;
            let store = store.with_capacity(*capacity).with_lease(*lease);
            serve(&config, metrics, ledgers, store).await
        }
        Store::Redis { url, lease } => {
            let store = RedisStore::connect(url, PREFIX).await;
            let store = store.map_err(|error| {
                Failure::refused(format_args!("store: redis at {}: {error}", server(url)))
            })?;
            serve(&config, metrics, ledgers, store.with_lease(*lease)).await
        }
    }
}

/// The host and port of a Redis URL: the rest of it is secret.
fn server(url: &str) -> String {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port().unwrap_or(6379))));
    host.map_or_else(|| "a socket".into(), |(host, port)| format!("{host}:{port}"))
}

/// Makes the ledgers, without a request to any node.
fn ledgers(config: &Config) -> Result<Ledgers, Failure> {
    let mut wrong = Vec::new();
    let mut evm = EvmLedger::new();
    for (place, chain) in config.evm.iter().enumerate() {
        let name = format!("evm {}", place + 1);
        let mut keys = Vec::new();
        for text in &chain.keys {
            match key::evm_text(text.clone()).ok().and_then(|text| key::evm(&text)) {
                Some(key) => keys.push(key),
                None => {
                    wrong.push(format!(
                        "{name}: key: not a private key: give 64 hexadecimal digits, or the path of a \
                         file with them"
                    ));
                }
            }
        }
        match Nodes::new(&chain.rpc) {
            Ok(nodes) => {
                let mut chain = evm_chain(chain, nodes);
                chain.smart_wallets = config.smart_wallets;
                evm = evm.with_chain(chain, keys);
            }
            Err(error) => wrong.push(format!("{name}: rpc: {error}")),
        }
    }
    let mut svm = Vec::new();
    for (place, network) in config.svm.iter().enumerate() {
        let name = format!("svm {}", place + 1);
        let read = |text| key::svm_text(text).and_then(|text| key::svm(&text)).ok();
        let keys: Vec<_> = network.keys.iter().filter_map(|text| read(text.clone())).collect();
        let keys_read = keys.len();
        let mut keys = keys.into_iter();
        let ledger = keys.next().map(SvmLedger::new);
        let ledger = keys.fold(ledger, |ledger, key| Some(ledger?.with_fee_payer(key)));
        if keys_read != network.keys.len() {
            wrong.push(format!(
                "{name}: key: not a Solana key: give base58 of 64 or 32 bytes, a key as the Solana \
                 CLI writes it, or the path of a file with one"
            ));
        }
        match (ledger, Nodes::new(&network.rpc)) {
            (_, Err(error)) => wrong.push(format!("{name}: rpc: {error}")),
            (None, _) => {}
            (Some(ledger), Ok(nodes)) => {
                let ledger = ledger.with_settings(svm_settings(network));
                match ledger.with_network(network.network.clone(), nodes) {
                    Ok(ledger) => svm.push(ledger),
                    Err(error) => wrong.push(format!("{name}: network: {error}")),
                }
            }
        }
    }
    if wrong.is_empty() { Ok((evm, svm)) } else { Err(mistakes(wrong)) }
}

/// The failure for all mistakes, a line each.
pub(crate) fn mistakes(all: Vec<String>) -> Failure {
    Failure::unusable(all.join("\n"))
}

fn svm_settings(config: &Svm) -> SvmSettings {
    SvmSettings {
        commitment: config.commitment,
        confirm_within: config.confirm,
        witnesses: config.witnesses,
        least_lamports: config.min_lamports,
        most_fee: config.max_fee_lamports,
        ..SvmSettings::default()
    }
}

/// Limits of a payment on Solana. They are checked before the network is known, so they are the largest
/// of all networks; each network checks the cost against its own limits.
fn svm_limits(config: &Config) -> Limits {
    let largest = |of: fn(&Svm) -> u64| config.svm.iter().map(of).max().unwrap_or(0);
    let units = largest(|network| network.max_compute_units.into());
    Limits {
        compute_units: u32::try_from(units).unwrap_or(u32::MAX),
        compute_unit_price: largest(|network| network.max_compute_price),
        priority_fee: largest(|network| network.max_fee_lamports).saturating_sub(BASE_FEE),
        ..Limits::default()
    }
}

fn evm_chain(config: &Evm, nodes: Nodes) -> EvmChain {
    let mut chain = EvmChain::new(config.chain_id, nodes);
    chain.confirmations = config.confirmations;
    chain.witnesses = config.witnesses;
    chain.max_fee_per_gas = u128::from(config.max_fee_gwei) * GWEI;
    chain.max_priority_fee_per_gas = u128::from(config.max_priority_fee_gwei) * GWEI;
    chain.gas_limit = config.max_gas;
    chain.legacy = config.legacy;
    chain.confirm_time = config.confirm;
    chain.settled_by_others = config.settled_by_strangers;
    chain.factories.clone_from(&config.factories);
    chain.max_proof_age = config.max_proof_age;
    chain.at_once = config.transactions_at_once;
    chain.failed_after = config.failed_after;
    chain.max_gas_lost = config.max_gas_lost;
    chain.coin_price = config.coin_price;
    chain
}

async fn serve<S: ClaimStore + 'static>(
    config: &Config,
    metrics: Metrics,
    ledgers: Ledgers,
    store: S,
) -> Outcome {
    let facilitator = LocalFacilitator::with_parts(ledgers, store, SystemClock);
    for network in facilitator.ledger().kinds().into_iter().filter(|kind| kind.x402_version == 2) {
        tracing::info!(network = %network.network, "payments on this network are settled");
    }
    let transfer_proofs = config.evm.iter().any(|chain| !chain.max_proof_age.is_zero());
    let evm = ExactOnEvm { smart_wallets: config.smart_wallets, transfer_proofs };
    let (over_payment, limits) = (config.over_payment, svm_limits(config));
    let svm = ExactOnSvm { over_payment, limits, ..ExactOnSvm::default() };
    let facilitator = facilitator.with_payer_limit(config.per_payer).with_evm(evm).with_svm(svm);
    let facilitator = facilitator.with_acceptance(config.acceptance.clone());
    if !config.listen.ip().is_loopback() && !config.has_token {
        tracing::warn!("everybody who reaches this address can settle payments: set token_file");
    }
    let facilitator = Arc::new(facilitator);
    let counted = Counted { facilitator: Arc::clone(&facilitator), metrics: metrics.clone() };
    let service = Service::with_limits(counted, config.limits);
    let service = service.with_callers(config.callers.clone());
    let readiness = Arc::new(Readiness::new(config, service.clone(), metrics.clone()));
    readiness.begin().await?;
    // The work that an earlier process left behind comes first, within a time limit.
    timeout(AT_START, facilitator.keep_once()).await.ok();
    let keeping = tokio::spawn(Arc::clone(&facilitator).keep());
    let counting = tokio::spawn(watch(facilitator, metrics.clone()));
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let probed = Arc::clone(&readiness);
    let probes = Router::new()
        .route("/healthz", get(|| ready_now("alive")))
        .route("/readyz", get(async move |request: Request| probed.answer(request).await))
        .route(
            "/metrics",
            get(move || {
                tokio::spawn(readiness.refresh());
                ready_now((text, metrics.text()))
            }),
        );
    let router = service.router().merge(service.guarded(probes));
    let listen = Listen {
        address: config.listen,
        connections: config.connections,
        shutdown: config.shutdown,
    };
    let served = listen.serve(router, service.finish()).await;
    keeping.abort();
    counting.abort();
    served
}

/// Updates now and then how full the store is, and how much gas was lost.
async fn watch<S: ClaimStore>(facilitator: Arc<LocalFacilitator<Ledgers, S>>, metrics: Metrics) {
    loop {
        if let Ok(Some(usage)) = facilitator.store().usage().await {
            metrics.store(usage);
        }
        for (chain_id, lost) in facilitator.ledger().0.gas_lost() {
            metrics.gas_lost(chain_id, lost);
        }
        sleep(WATCH).await;
    }
}
