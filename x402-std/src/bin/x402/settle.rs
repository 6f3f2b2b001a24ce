//! A facilitator that settles on chains, as configured.

use std::future::ready as ready_now;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::sync::Mutex;
use x402_std::SystemClock;
use x402_std::core::claim::ClaimKey;
use x402_std::core::crypto::{ed25519, secp256k1};
use x402_std::facilitator::{Facilitator, LocalFacilitator, Service};
use x402_std::ledger::{
    self as evm, EvmChain, EvmLedger, Ledger, SvmLedger, SvmNotReady, SvmSettings,
};
use x402_std::payment::{EvmRules, SvmRules};
use x402_std::rpc::Nodes;
use x402_std::store::{ClaimStore, MemoryStore, RedisStore, SqliteStore};
use x402_std::verifiers::Verifiers;

use crate::config::{Config, Evm, Store, Svm};
use crate::facilitator::mistakes;
use crate::listen::Listen;
use crate::log::{self, Format};
use crate::metrics::{Counted, Metrics};
use crate::{Exit, Failure, Outcome, key, talk};

/// What every key of this service in Redis begins with.
const PREFIX: &str = "x402:settle:";

/// One gwei in wei.
const GWEI: u128 = 1_000_000_000;

type Ledgers = (EvmLedger<secp256k1::LocalKey>, Vec<SvmLedger<ed25519::LocalKey>>);

/// How long it is not found out again whether a facilitator is ready.
const READY: Duration = Duration::from_secs(5);

const NOT_READY: (StatusCode, &str) =
    (StatusCode::SERVICE_UNAVAILABLE, "not ready; the log says why");

/// Serves until it is asked to stop; with `check`, says only whether it would.
pub(crate) async fn run(config: Config, check: bool) -> Outcome {
    let (evm, svm) = ledgers(&config)?;
    if check {
        talk("nothing is wrong with it");
        return Ok(Exit::Yes);
    }
    let metrics = Metrics::new().map_err(Failure::refused)?;
    let format = if config.log_json { Format::Json } else { Format::Text };
    log::start(format, Some(metrics.warnings.clone()));
    let ledgers = (evm, svm);
    match &config.store {
        Store::Memory { capacity } => {
            let store = MemoryStore::new(*capacity);
            serve(&config, metrics, ledgers, store).await
        }
        Store::Sqlite { path, capacity, lease } => {
            let store = SqliteStore::open(path);
            let store = store.map_err(|error| Failure::refused(format_args!("store: {error}")))?;
            let store = store.with_capacity(*capacity).with_lease(*lease);
            serve(&config, metrics, ledgers, store).await
        }
        Store::Redis { url, lease } => {
            let store = RedisStore::connect(url, PREFIX).await;
            let store = store.map_err(|error| Failure::refused(format_args!("store: {error}")))?;
            serve(&config, metrics, ledgers, store.with_lease(*lease)).await
        }
    }
}

/// Why payments cannot be settled.
enum NotReady {
    /// It may pass.
    Now(String),
    /// The configuration is to blame.
    Ever(String),
}

/// Whether nodes and claims are there.
async fn ready<S: ClaimStore + 'static>(
    service: &Service<Counted<LocalFacilitator<Ledgers, S>>>,
) -> Result<(), NotReady> {
    let facilitator = &service.facilitator().facilitator;
    let (evm, svm) = facilitator.ledger();
    evm.ready().await.map_err(|error| match error {
        evm::NotReady::WrongChain { .. } => NotReady::Ever(error.to_string()),
        _ => NotReady::Now(error.to_string()),
    })?;
    for ledger in svm {
        ledger.ready().await.map_err(|error| match error {
            SvmNotReady::WrongNetwork(_) => NotReady::Ever(error.to_string()),
            _ => NotReady::Now(error.to_string()),
        })?;
    }
    let claim = facilitator.settlement(ClaimKey::new([0; 32])).await;
    claim.map(drop).map_err(|_| NotReady::Now("the claim store cannot be reached".into()))
}

/// The ledgers, of which nothing is asked yet.
fn ledgers(config: &Config) -> Result<Ledgers, Failure> {
    let mut wrong = Vec::new();
    let mut evm = EvmLedger::new();
    for (place, chain) in config.evm.iter().enumerate() {
        let name = format!("evm {}", place + 1);
        let mut keys = Vec::new();
        for text in &chain.keys {
            match key::evm(text) {
                Some(key) => keys.push(key),
                None => {
                    wrong.push(format!("{name}: key: not a private key of 64 hexadecimal digits"))
                }
            }
        }
        match Nodes::new(&chain.rpc) {
            Ok(nodes) => evm = evm.with_chain(evm_chain(chain, nodes), keys),
            Err(error) => wrong.push(format!("{name}: rpc: {error}")),
        }
    }
    let mut svm = Vec::new();
    for (place, network) in config.svm.iter().enumerate() {
        let name = format!("svm {}", place + 1);
        let mut keys = network.keys.iter().filter_map(|text| key::svm(text).ok());
        let ledger = keys.next().map(SvmLedger::new);
        let ledger = keys.fold(ledger, |ledger, key| Some(ledger?.with_fee_payer(key)));
        if ledger.as_ref().map_or(0, |ledger| ledger.fee_payers().len()) != network.keys.len() {
            wrong.push(format!(
                "{name}: key: neither base58 of 64 bytes nor as the Solana CLI writes it"
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

fn svm_settings(config: &Svm) -> SvmSettings {
    SvmSettings {
        commitment: config.commitment,
        confirm_within: config.confirm,
        witnesses: config.witnesses,
        least_lamports: config.min_lamports,
        ..SvmSettings::default()
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
    chain.by_strangers = config.settled_by_strangers;
    chain.factories.clone_from(&config.factories);
    chain.max_proof_age = config.max_proof_age;
    chain
}

async fn serve<S: ClaimStore + 'static>(
    config: &Config,
    metrics: Metrics,
    ledgers: Ledgers,
    store: S,
) -> Outcome {
    let facilitator = LocalFacilitator::with(ledgers, store, SystemClock);
    for network in facilitator.ledger().kinds().into_iter().filter(|kind| kind.x402_version == 2) {
        tracing::info!(network = %network.network, "settles");
    }
    let transfer_proofs = config.evm.iter().any(|chain| !chain.max_proof_age.is_zero());
    let evm = EvmRules { smart_wallets: config.smart_wallets, transfer_proofs };
    let svm = SvmRules { over_payment: config.over_payment, ..SvmRules::default() };
    let mut facilitator =
        facilitator.with_payer_limit(config.per_payer).with_evm_rules(evm).with_svm_rules(svm);
    if config.verifiers > 0 {
        let verifiers = Verifiers::new(config.verifiers);
        let verifiers =
            verifiers.map_err(|error| Failure::unusable(format!("verifiers: {error}")))?;
        facilitator = facilitator.with_verifiers(Arc::new(verifiers));
    }
    let counted = Counted { facilitator, metrics: metrics.clone() };
    let service = Service::with_limits(counted, config.limits);
    match ready(&service).await {
        Ok(()) => {}
        Err(NotReady::Ever(text)) => return Err(Failure::unusable(text)),
        Err(NotReady::Now(text)) => tracing::warn!(text, "not ready yet"),
    }
    let known = Arc::new(Mutex::new(None::<(Instant, bool)>));
    let of = service.clone();
    let readiness = move || {
        let (service, known) = (of.clone(), Arc::clone(&known));
        async move {
            // Whoever asks often does not make the nodes be asked often.
            let mut known = known.lock().await;
            let is_ready = match *known {
                Some((since, is_ready)) if since.elapsed() < READY => is_ready,
                _ => {
                    let outcome = ready(&service).await;
                    if let Err(NotReady::Now(text) | NotReady::Ever(text)) = &outcome {
                        tracing::warn!(text, "not ready");
                    }
                    *known = Some((Instant::now(), outcome.is_ok()));
                    outcome.is_ok()
                }
            };
            if is_ready { (StatusCode::OK, "ready") } else { NOT_READY }
        }
    };
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let router = service
        .router()
        .route("/healthz", get(|| ready_now("alive")))
        .route("/readyz", get(readiness))
        .route("/metrics", get(move || ready_now((text, metrics.text()))));
    let listen = Listen {
        address: config.listen,
        connections: config.connections,
        shutdown: config.shutdown,
    };
    listen.serve(router, service.finish()).await
}
