//! Approval by a person, which some payments need.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::*;
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use serde_json::Value;
use x402_std::buyer::Ask;
use x402_std::core::Money;

use super::recent::Recent;
use super::response::{no, nobody_to_ask};
use super::text::{price_in_words, words};

/// Longest wait for a person's answer.
const THINKING: Duration = Duration::from_secs(300);

/// Name of the question to a person, and of its answer.
const PAY: &str = "pay";

/// The way to ask a person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The client cannot ask.
    Nobody,
    /// By a request to the client.
    Now,
    /// By an answer that makes the client ask and call again (MCP since 2026-07-28).
    NextCall,
}

impl How {
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        let elicitation = context.client_capabilities().and_then(|it| it.elicitation);
        match elicitation {
            Some(form) if form.form.is_some() || form.url.is_none() => {
                let version = context.protocol_version();
                if version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
                    Self::NextCall
                } else {
                    Self::Now
                }
            }
            _ => Self::Nobody,
        }
    }
}

/// The person who can allow a payment.
pub(super) struct Person {
    how: How,
    said_no: bool,
    peer: Peer<RoleServer>,
    /// The payment that the answer in this call allows.
    allowed: Option<Ask>,
    /// The payment to ask about before the next call, or the one that was refused.
    asked: Mutex<Option<Ask>>,
    above: String,
}

impl Person {
    pub(super) fn new(
        questions: &Recent<Ask>,
        above: Option<Money>,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        let asked = request.request_state.as_deref().and_then(|state| questions.take(state));
        let answer = request.input_responses.as_ref().and_then(|answers| answers.get(PAY));
        let yes = answer
            .is_some_and(|answer| answer["action"] == "accept" && answer["content"][PAY] == true);
        let said_no = answer.is_some() && !yes;
        Self {
            // A person who refused is not asked again.
            how: if said_no { How::Nobody } else { How::of(context) },
            said_no,
            peer: context.peer.clone(),
            allowed: asked.filter(|_| yes),
            asked: Mutex::default(),
            above: above.map(|above| above.to_string()).unwrap_or_default(),
        }
    }

    pub(super) async fn allows(&self, ask: Ask) -> bool {
        match self.how {
            How::Nobody => false,
            How::Now => {
                let asked = self
                    .peer
                    .create_elicitation_with_timeout(self.form(&ask), Some(THINKING))
                    .await;
                asked.is_ok_and(|answer| {
                    let content = answer.content.unwrap_or_default();
                    answer.action == ElicitationAction::Accept && content[PAY] == true
                })
            }
            How::NextCall => {
                let same = self.allowed.as_ref().is_some_and(|allowed| {
                    (&allowed.host, &allowed.what, &allowed.offer)
                        == (&ask.host, &ask.what, &ask.offer)
                });
                if !same {
                    *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(ask);
                }
                same
            }
        }
    }

    /// Returns the question. All words are our own, except host, path and address.
    fn form(&self, ask: &Ask) -> ElicitRequestParams {
        let message = format!(
            "Pay {}? {} asks for it, for {}. Payments above {} need your approval.",
            price_in_words(&ask.offer, ask.decimals),
            words(&ask.host, 253),
            words(&ask.what, 300),
            self.above,
        );
        let mut pay = BooleanSchema::new();
        pay.title = Some("Pay".into());
        let pay = PrimitiveSchemaDefinition::Boolean(pay);
        let mut requested_schema = ElicitationSchema::new(BTreeMap::from([(PAY.into(), pay)]));
        requested_schema.required = Some(vec![PAY.into()]);
        ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema }
    }

    /// Returns the question that the client asks before it calls again.
    pub(super) fn question(&self, questions: &Recent<Ask>) -> Option<CallToolResponse> {
        let ask = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let state = hex::encode(random);
        let form = InputRequest::Elicitation(ElicitRequest::new(self.form(&ask)));
        questions.put(state.clone(), ask);
        let forms = BTreeMap::from([(PAY.into(), form)]);
        Some(CallToolResponse::InputRequired(InputRequiredResult::new(Some(forms), Some(state))))
    }

    /// Returns the error for a payment that nobody approved.
    pub(super) fn answer(&self) -> Value {
        let why = match (self.how, self.said_no) {
            (How::Nobody, false) => return nobody_to_ask(),
            (_, true) => "the answer was no",
            (How::Now | How::NextCall, false) => "the answer was no, or none came",
        };
        let above = &self.above;
        let text =
            format!("payments above {above} need a person's approval, and {why}; nothing was paid");
        no("not_approved", "never", text)
    }
}
