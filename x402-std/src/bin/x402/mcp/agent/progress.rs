//! Progress of a call, for clients that ask for it.

use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::interval;
use x402_std::buyer::Progress;

use super::text::words;
use crate::describe;

/// Interval between reports while nothing new happens.
const STILL: Duration = Duration::from_secs(10);

/// Sends the progress of a call to a client that asked for it.
pub(super) struct Reports(Option<UnboundedSender<String>>);

impl Reports {
    pub(super) fn new(context: &RequestContext<RoleServer>) -> Self {
        let sender = context.meta.get_progress_token().map(|token| {
            let (sender, reports) = unbounded_channel();
            tokio::spawn(report(context.peer.clone(), token, reports));
            sender
        });
        Self(sender)
    }

    pub(super) fn hear(&self, progress: Progress<'_>) {
        let Some(sender) = &self.0 else { return };
        let text = match progress {
            Progress::Chosen(offer) => format!("paying {}", words(&describe(offer), 300)),
            Progress::Presented => "the payment was sent".into(),
            Progress::Pending(time) => {
                format!("the settlement is pending: asking again in {} s", time.as_secs())
            }
        };
        sender.send(text).ok();
    }
}

/// Sends reports until the call is over.
async fn report(
    peer: Peer<RoleServer>,
    token: ProgressToken,
    mut reports: UnboundedReceiver<String>,
) {
    let mut still = interval(STILL);
    still.tick().await;
    let (mut count, mut last) = (0.0, "asking for the price".to_owned());
    loop {
        tokio::select! {
            report = reports.recv() => match report {
                Some(report) => last = report,
                None => return,
            },
            _ = still.tick() => {}
        }
        count += 1.0;
        let report = ProgressNotificationParam::new(token.clone(), count).with_message(&last);
        if peer.notify_progress(report).await.is_err() {
            return;
        }
    }
}
