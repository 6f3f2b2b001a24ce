//! The facilitator's part of offers, from its `/supported` answer, and how long that answer is used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{NotCompleted, Offers, Seller};
use crate::facilitator::{Facilitator, FacilitatorError};
use crate::lock;
use crate::message::SupportedResponse;

/// Time for which a facilitator's `/supported` answer is used without asking again.
pub const SUPPORTED_FRESH: Duration = Duration::from_secs(600);

/// Time for which a `/supported` answer is used while the facilitator does not answer.
pub const SUPPORTED_STALE: Duration = Duration::from_secs(24 * 3600);

/// Least time between two requests for `/supported`.
const SUPPORTED_AGAIN: Duration = Duration::from_secs(10);

/// The facilitator's `/supported` answer, when it was last asked for, and when that last failed.
#[derive(Clone, Default)]
pub(super) struct Supported {
    answer: Option<(Instant, Arc<SupportedResponse>)>,
    asked: Option<Instant>,
    failed: Option<(Instant, FacilitatorError)>,
}

impl<F: Facilitator, S, C> Seller<F, S, C> {
    /// Completes offers by the facilitator's `/supported` answer: see [`Offers::with_supported`]. The seller
    /// asks for the answer when it needs it, and keeps it for [`SUPPORTED_FRESH`]. While the facilitator does
    /// not answer, the last one is used for [`SUPPORTED_STALE`].
    ///
    /// # Errors
    /// [`NotCompleted`].
    pub async fn complete(&self, offers: Offers) -> Result<Offers, NotCompleted> {
        let known = || lock(&self.supported).clone();
        let known = known();
        let younger = |most| known.answer.clone().filter(|(at, _)| at.elapsed() < most);
        let recent = |at: Instant| at.elapsed() < SUPPORTED_AGAIN;
        let supported = match (younger(SUPPORTED_FRESH), younger(SUPPORTED_STALE), known.failed) {
            (Some((_, fresh)), ..) => fresh,
            // Another caller is asking, or has just asked in vain.
            (None, Some((_, stale)), _) if known.asked.is_some_and(recent) => stale,
            (None, None, Some((at, error))) if recent(at) => {
                return Err(NotCompleted::Facilitator(error));
            }
            (None, stale, _) => {
                lock(&self.supported).asked = Some(Instant::now());
                let answer = self.facilitator.supported().await;
                let mut state = lock(&self.supported);
                match answer {
                    Ok(supported) => {
                        let supported = Arc::new(supported);
                        state.answer = Some((Instant::now(), Arc::clone(&supported)));
                        supported
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the facilitator does not answer /supported");
                        state.failed = Some((Instant::now(), error));
                        stale.ok_or(NotCompleted::Facilitator(error))?.1
                    }
                }
            }
        };
        offers.with_supported(&supported).map_err(NotCompleted::Unsupported)
    }
}
