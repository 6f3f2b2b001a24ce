//! Readiness to settle, network by network.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;
use x402_std::core::Network;
use x402_std::core::claim::ClaimKey;
use x402_std::facilitator::ledger::{self as evm, SvmNotReady};
use x402_std::facilitator::{Facilitator, LocalFacilitator, Service};
use x402_std::store::ClaimStore;

use super::Ledgers;
use crate::Failure;
use crate::config::Config;
use crate::metrics::{Counted, Metrics};

/// How long a report counts: frequent probes cause no frequent requests to nodes.
const KNOWN: Duration = Duration::from_secs(5);

/// How long a network or a store may take to show that it is ready.
const WITHIN: Duration = Duration::from_secs(10);

type Settling<S> = Service<Counted<Arc<LocalFacilitator<Ledgers, S>>>>;

/// Checks readiness, and remembers the result for a while.
pub(super) struct Readiness<S> {
    service: Settling<S>,
    metrics: Metrics,
    networks: Vec<Place>,
    known: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// A network of the configuration, and where it is among the ledgers.
#[derive(Clone)]
struct Place {
    network: String,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    Evm { chain_id: u64 },
    Svm { place: usize },
}

/// Why payments cannot be settled, without the name of a node.
struct NotReady {
    text: String,
    /// The configuration is at fault: waiting does not help.
    forever: bool,
}

/// The readiness of the store and of each network.
struct Report {
    store: Result<(), &'static str>,
    networks: Vec<(String, Result<(), NotReady>)>,
}

impl<S: ClaimStore + 'static> Readiness<S> {
    pub(super) fn new(config: &Config, service: Settling<S>, metrics: Metrics) -> Self {
        let evm = config.evm.iter().map(|chain| Place {
            network: format!("eip155:{}", chain.chain_id),
            at: At::Evm { chain_id: chain.chain_id },
        });
        let svm = config.svm.iter().enumerate().map(|(place, cluster)| {
            let network = cluster.network.as_view();
            let network = network.caip2().unwrap_or(network).as_str().into();
            Place { network, at: At::Svm { place } }
        });
        Self { service, metrics, networks: evm.chain(svm).collect(), known: Mutex::default() }
    }

    /// Refuses a configuration that can never work, and logs networks that still fail.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        let report = self.report().await;
        let wrong = report
            .networks
            .iter()
            .find_map(|(_, ready)| ready.as_ref().err().filter(|not_ready| not_ready.forever));
        wrong.map_or(Ok(()), |wrong| Err(Failure::unusable(&wrong.text)))
    }

    /// Answers a probe about the network it names (`?network=eip155:8453`), otherwise about all: one
    /// that is ready is enough.
    pub(super) async fn answer(&self, request: Request) -> Response {
        let query = request.uri().query().unwrap_or("");
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let asked = pairs.find(|(name, _)| name == "network").map(|(_, network)| network);
        let report = self.report().await;
        let is_asked = |network: &str| {
            asked.as_ref().is_none_or(|asked| {
                match (Network::parse(asked), Network::parse(network)) {
                    (Ok(asked), Ok(network)) => asked.is_same(network),
                    _ => false,
                }
            })
        };
        let networks: Vec<_> =
            report.networks.iter().filter(|(network, _)| is_asked(network)).collect();
        let is_ready = report.store.is_ok() && networks.iter().any(|(_, ready)| ready.is_ok());
        let status = match (networks.is_empty(), is_ready) {
            (true, _) => StatusCode::NOT_FOUND,
            (false, true) => StatusCode::OK,
            (false, false) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let shown = networks.into_iter().map(|(network, ready)| match ready {
            Ok(()) => json!({ "network": network, "ready": true }),
            Err(NotReady { text, .. }) => {
                json!({ "network": network, "ready": false, "reason": text })
            }
        });
        let networks: Vec<Value> = shown.collect();
        let mut answer = json!({ "ready": is_ready, "networks": networks });
        if let (Err(reason), Some(answer)) = (report.store, answer.as_object_mut()) {
            answer.insert("reason".into(), reason.into());
        }
        (status, Json(answer)).into_response()
    }

    /// Returns the last report, or a new one if that is too old.
    async fn report(&self) -> Arc<Report> {
        let mut known = self.known.lock().await;
        if let Some((since, report)) = known.as_ref()
            && since.elapsed() < KNOWN
        {
            return Arc::clone(report);
        }
        let report = Arc::new(self.find_out().await);
        *known = Some((Instant::now(), Arc::clone(&report)));
        report
    }

    /// Checks all networks at once: a silent one delays no other.
    async fn find_out(&self) -> Report {
        let late = || NotReady {
            text: "no answer in 10 seconds: check its RPC nodes".into(),
            forever: false,
        };
        let mut asked = JoinSet::new();
        for (index, place) in self.networks.iter().enumerate() {
            let (service, at) = (self.service.clone(), place.at);
            asked.spawn(async move {
                let ready = timeout(WITHIN, is_ready(&service, at)).await;
                (index, ready.unwrap_or_else(|_| Err(late())))
            });
        }
        let mut networks: Vec<_> =
            self.networks.iter().map(|place| (place.network.clone(), Err(late()))).collect();
        while let Some(found) = asked.join_next().await {
            if let Ok((index, ready)) = found
                && let Some((_, place)) = networks.get_mut(index)
            {
                *place = ready;
            }
        }
        let facilitator = &self.service.facilitator().facilitator;
        let claim = timeout(WITHIN, facilitator.settlement(ClaimKey::new([0; 32]))).await;
        let store = match claim {
            Ok(Ok(_)) => Ok(()),
            _ => Err("the claim store cannot be reached: check [store]"),
        };
        for (network, ready) in &networks {
            self.metrics.ready(network, ready.is_ok() && store.is_ok());
            if let Err(NotReady { text, .. }) = ready {
                tracing::warn!(network, text, "not ready to settle");
            }
        }
        if let Err(text) = store {
            tracing::warn!(text, "not ready to settle");
        }
        Report { store, networks }
    }

    /// Renews the report in the background, for the metrics.
    pub(super) fn refresh(self: &Arc<Self>) -> impl Future<Output = ()> + use<S> {
        let this = Arc::clone(self);
        async move {
            // A lock that is held means that a report is being made.
            if this.known.try_lock().is_ok() {
                this.report().await;
            }
        }
    }
}

async fn is_ready<S: ClaimStore + 'static>(service: &Settling<S>, at: At) -> Result<(), NotReady> {
    let (evm, svm) = service.facilitator().facilitator.ledger();
    match at {
        At::Evm { chain_id } => evm.ready_on(chain_id).await.map_err(|error| NotReady {
            forever: matches!(error, evm::NotReady::WrongChain { .. }),
            text: error.to_string(),
        }),
        At::Svm { place } => match svm.get(place) {
            Some(ledger) => ledger.readiness().await.map_err(|error| NotReady {
                forever: matches!(error, SvmNotReady::WrongNetwork(_)),
                text: error.to_string(),
            }),
            None => Ok(()),
        },
    }
}
