//! Counters for Prometheus.

use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use x402_std::core::Reason;
use x402_std::core::claim::{ClaimKey, ClaimState};
use x402_std::facilitator::ledger::GasLost;
use x402_std::facilitator::{CallerId, Facilitator, FacilitatorError, Settlement};
use x402_std::message::{SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};
use x402_std::store::Usage;

/// Upper bounds of the histogram's buckets, in seconds.
const SECONDS: [f64; 10] = [0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// All counters. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    answers: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGauge,
    ready: IntGaugeVec,
    store: IntGaugeVec,
    gas_lost: IntGaugeVec,
    /// Warnings and errors by their message.
    pub(crate) warnings: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let answers = IntCounterVec::new(
            Opts::new(
                "x402_answers_total",
                "Answers by request and result: ok, or the reason of a refusal",
            ),
            &["request", "result"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("x402_seconds", "Time until the answer, in seconds")
                .buckets(SECONDS.into()),
            &["request"],
        )?;
        let in_flight =
            IntGauge::new("x402_in_flight", "Payments that are being verified or settled")?;
        let ready = IntGaugeVec::new(
            Opts::new("x402_ready", "1 if payments on a network can be settled, else 0"),
            &["network"],
        )?;
        let store = IntGaugeVec::new(
            Opts::new("x402_store", "Claims in the store and its capacity; bytes for Redis"),
            &["what"],
        )?;
        let gas_lost = IntGaugeVec::new(
            Opts::new("x402_gas_lost", "Cost of failed transactions since the start"),
            &["network", "unit"],
        )?;
        let warnings = IntCounterVec::new(
            Opts::new("x402_warnings_total", "Warnings and errors by their message"),
            &["message"],
        )?;
        let all: [Box<dyn Collector>; 7] = [
            Box::new(answers.clone()),
            Box::new(seconds.clone()),
            Box::new(in_flight.clone()),
            Box::new(ready.clone()),
            Box::new(store.clone()),
            Box::new(gas_lost.clone()),
            Box::new(warnings.clone()),
        ];
        for one in all {
            registry.register(one)?;
        }
        Ok(Self { registry, answers, seconds, in_flight, ready, store, gas_lost, warnings })
    }

    /// Notes whether a network is ready.
    pub(crate) fn ready(&self, network: &str, is_ready: bool) {
        self.ready.with_label_values(&[network]).set(is_ready.into());
    }

    /// Notes how full the store is.
    pub(crate) fn store(&self, usage: Usage) {
        self.store.with_label_values(&["used"]).set(gauge(usage.used));
        self.store.with_label_values(&["capacity"]).set(gauge(usage.capacity));
    }

    /// Notes the cost of failed transactions on a chain.
    pub(crate) fn gas_lost(&self, chain_id: u64, lost: GasLost) {
        let network = format!("eip155:{chain_id}");
        for (unit, value) in
            [("transactions", lost.transactions), ("gas", lost.gas), ("gwei", lost.gwei)]
        {
            self.gas_lost.with_label_values(&[&*network, unit]).set(gauge(value));
        }
    }

    /// All of it, in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).ok();
        String::from_utf8(text).unwrap_or_default()
    }

    fn count(&self, request: &str, result: Option<&str>, since: Instant) {
        // Only known reasons are labels: other texts could be any number of labels.
        let known = |reason: &str| Reason::parse(reason).map_or("other", Reason::as_str);
        let result = result.map_or("ok", known);
        self.answers.with_label_values(&[request, result]).inc();
        self.seconds.with_label_values(&[request]).observe(since.elapsed().as_secs_f64());
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A facilitator whose answers are counted, and whose settlements are logged.
pub(crate) struct Counted<F> {
    pub(crate) facilitator: F,
    pub(crate) metrics: Metrics,
}

/// Counted as worked on until dropped.
struct Work(IntGauge);

impl Work {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl<F: Facilitator> Facilitator for Counted<F> {
    type Scheme = F::Scheme;

    fn scheme(&self) -> &F::Scheme {
        self.facilitator.scheme()
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        let (since, _work) = (Instant::now(), Work::new(&self.metrics.in_flight));
        let answer = self.facilitator.verify(request).await?;
        self.metrics.count("verify", answer.invalid_reason.as_deref(), since);
        Ok(answer)
    }

    async fn settle(&self, request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        Ok(self.settle_for(request, CallerId::ANYBODY).await?.answer)
    }

    async fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> Result<Settlement, FacilitatorError> {
        let (since, _work) = (Instant::now(), Work::new(&self.metrics.in_flight));
        let settlement = self.facilitator.settle_for(request, caller).await?;
        let answer = &settlement.answer;
        let reason = answer.error_reason.as_deref();
        self.metrics.count("settle", reason, since);
        let id = settlement.id.map(|id| format!("{id:?}")).unwrap_or_default();
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        // All of it is public once it is on a chain. The words of a payment that failed a check are not
        // logged.
        let (network, transaction) = match settlement.id {
            Some(_) => (answer.network.as_str(), answer.transaction.as_str()),
            None => ("", ""),
        };
        match reason {
            None => tracing::info!(id, network, transaction, milliseconds, "settled"),
            Some(reason) => {
                tracing::info!(id, network, transaction, reason, milliseconds, "not settled");
            }
        }
        Ok(settlement)
    }

    async fn settlement(&self, id: ClaimKey) -> Result<Option<ClaimState>, FacilitatorError> {
        self.facilitator.settlement(id).await
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        self.facilitator.supported().await
    }
}
