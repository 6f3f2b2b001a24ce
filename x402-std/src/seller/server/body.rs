//! The body of a paid answer, recorded as delivered before its end is written.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{CHUNK, ConnectionEnd, PaidAnswer};
use crate::extension::BoxFuture;
use crate::seller::driver::Delivery;

/// A body of this layer's own, or one withheld until it was paid for.
pub struct OwnBody {
    pub(super) left: Bytes,
    pub(super) begun: bool,
    pub(super) delivery: Option<Delivery<PaidAnswer>>,
    pub(super) noting: Option<BoxFuture<'static, bool>>,
    pub(super) end: Option<ConnectionEnd>,
}

/// The error of a paid answer that is cut short: it took too long, and the same payment had it made again
/// elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOver;

impl fmt::Display for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this answer was made once more, elsewhere, for the same payment")
    }
}

impl Error for TakenOver {}

impl fmt::Debug for OwnBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnBody").field("left", &self.left.len()).finish_non_exhaustive()
    }
}

impl From<Bytes> for OwnBody {
    fn from(left: Bytes) -> Self {
        Self { left, begun: false, delivery: None, noting: None, end: None }
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = TakenOver;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TakenOver>>> {
        let this = self.get_mut();
        this.begun = true;
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        if this.left.len() <= CHUNK && !ready!(this.noted(context)) {
            this.left.clear();
            return Poll::Ready(Some(Err(TakenOver)));
        }
        let length = this.left.len().min(CHUNK);
        let chunk = this.left.split_to(length);
        if this.left.is_empty() {
            this.written();
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

impl OwnBody {
    /// Records that the whole body is delivered. Returns `false` if it must not be: the reader was slow, and
    /// had it made again elsewhere.
    fn noted(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let Some(delivery) = &mut self.delivery else { return Poll::Ready(true) };
        let noting = self.noting.get_or_insert_with(|| delivery.note());
        let mine = ready!(noting.as_mut().poll(context));
        self.noting = None;
        if !mine && let Some(delivery) = self.delivery.take() {
            delivery.taken_over();
        }
        Poll::Ready(mine)
    }

    fn written(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.written(self.end.take());
        }
    }
}

impl Drop for OwnBody {
    fn drop(&mut self) {
        // A body that was begun and not ended is lost. A body that was never begun was unwanted, unless the
        // connection's end is known to be the buyer hanging up.
        if !self.begun && (self.left.is_empty() || self.end.is_none()) {
            self.written();
        }
    }
}
