//! The delivery of an answer that is paid.

use std::sync::Arc;

use x402_core::claim::ClaimKey;

use super::work::Context;
use super::{Answer, ConnectionEnd};
use crate::extension::BoxFuture;

/// A settled payment whose answer is on its way. When dropped unwritten, the same request gets the answer
/// again, or has it made again.
#[must_use]
pub struct Delivery<A: Answer> {
    pub(super) context: Context<A>,
    /// Its claim and its transaction; `None` once it was written out.
    pub(super) claim: Option<(ClaimKey, String)>,
    /// Whether its answer is kept here.
    pub(super) kept: bool,
    /// Whether the claim is already recorded as delivered.
    pub(super) noted: bool,
}

impl<A: Answer> Delivery<A> {
    /// Keeps the answer in case it is lost.
    pub(super) fn keep(&mut self, answer: A, bytes: usize) {
        if let Some((key, _)) = &self.claim {
            let Context { shared, digest, again, .. } = &self.context;
            shared.answers.keep(*key, *digest, answer, bytes, *again);
            if self.noted {
                self.context.shared.answers.noted(*key, true);
            }
            self.kept = true;
        }
    }

    /// This is for carriers that write in pieces; others call only [`written`](Self::written). If it returns
    /// `false`, call [`taken_over`](Self::taken_over) and write no more.
    ///
    /// Records the delivery before the last piece is written. A reader of the whole answer can then never
    /// have it made again, even by having the process killed in time. Returns `false` if it was made again
    /// elsewhere: then the rest must not be written.
    pub fn note(&mut self) -> BoxFuture<'static, bool> {
        let Some((key, transaction)) = self.claim.clone().filter(|_| !self.noted) else {
            return Box::pin(std::future::ready(true));
        };
        self.noted = true;
        let counted = Arc::clone(&self.context.shared.notes).try_acquire_owned();
        let noted = self.context.delivered(key, transaction);
        // To its end, even if the connection breaks: this process must know that it made the record.
        let noted = tokio::spawn(async move {
            let mine = noted.await;
            drop(counted);
            mine
        });
        Box::pin(async move { noted.await.unwrap_or(true) })
    }

    /// Drops the kept answer, which was made again elsewhere.
    pub fn taken_over(mut self) {
        if let Some((key, _)) = self.claim.take() {
            self.context.shared.answers.drop_answer(key);
        }
    }

    /// Reports that the answer was written out, over a connection whose end may be known later.
    pub fn written(mut self, end: Option<ConnectionEnd>) {
        let Some((key, transaction)) = self.claim.take() else { return };
        self.context.shared.answers.written(key, end);
        if !self.noted {
            let noted = self.context.delivered(key, transaction);
            self.context.note(|_| Box::pin(async move { _ = noted.await }));
        }
    }
}

impl<A: Answer> Drop for Delivery<A> {
    fn drop(&mut self) {
        let Some((key, transaction)) = self.claim.take() else { return };
        if self.kept {
            self.context.shared.answers.lost(key);
            return;
        }
        self.context.shared.answers.forget(key);
        if self.noted {
            self.context.note(|seller| seller.undelivered(key, transaction));
        }
    }
}
