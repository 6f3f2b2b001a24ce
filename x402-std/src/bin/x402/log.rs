//! What the library says while it serves: a line on stderr for each event, and a count of them.
//!
//! Only its own events: those of others may have URLs in them, which are secrets.

use std::fmt::{Debug, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::IntCounterVec;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::talk;

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A JSON object in each, with the time in Unix seconds.
    Json,
}

/// Starts to listen to the library. Warnings and errors are counted, by what they say.
pub(crate) fn start(format: Format, counter: Option<IntCounterVec>) {
    tracing::subscriber::set_global_default(Lines { format, counter }).ok();
}

struct Lines {
    format: Format,
    counter: Option<IntCounterVec>,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("x402");
        ours && metadata.is_event() && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let level = event.metadata().level();
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let (Some(counter), true) = (&self.counter, *level <= Level::WARN) {
            counter.with_label_values(&[fields.message.as_str()]).inc();
        }
        talk(match self.format {
            Format::Text => {
                let mut line = format!("{}: {}", level.as_str().to_lowercase(), fields.message);
                for (name, value) in fields.others {
                    write!(line, " {name}={value}").ok();
                }
                line
            }
            Format::Json => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let mut line = Map::new();
                line.insert("time".into(), now.as_secs().into());
                line.insert("level".into(), level.as_str().to_lowercase().into());
                line.insert("message".into(), fields.message.into());
                line.extend(fields.others.into_iter().map(|(name, value)| (name.into(), value)));
                Value::Object(line).to_string()
            }
        });
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.into(),
            name => self.others.push((name, value.into())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
