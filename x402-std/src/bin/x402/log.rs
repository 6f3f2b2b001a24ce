//! The library's events while it serves: a line on stderr for each, and a count of them.
//!
//! Events of other libraries are left out: they may have URLs in them, which are secrets.

use std::fmt::{Debug, Write};
use std::io::{self, Write as _};
use std::panic;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::IntCounterVec;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::shown;

/// The format of lines.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A JSON object in each, with the time in Unix seconds.
    Json,
}

/// The format of all lines. The first value that is set stays.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Sets the format of all lines, those of panics too.
pub(crate) fn write_as(format: Format) {
    FORMAT.get_or_init(|| format);
    if format == Format::Json {
        panic::set_hook(Box::new(|panicked| {
            write_line(line(Level::ERROR, &panicked.to_string(), Vec::new()));
        }));
    }
}

/// Writes a line to stderr, which may have words of others in it.
pub(crate) fn talk(text: &str) {
    match FORMAT.get() {
        Some(Format::Json) => write_line(line(Level::INFO, text, Vec::new())),
        _ => write_line(text.into()),
    }
}

/// Writes a line. A closed pipe is no failure.
fn write_line(line: String) {
    writeln!(io::stderr().lock(), "{}", shown::shown(&line)).ok();
}

/// Starts to write the library's events. Warnings and errors are counted by their message.
pub(crate) fn start(counter: Option<IntCounterVec>) {
    tracing::subscriber::set_global_default(Lines { counter }).ok();
}

struct Lines {
    counter: Option<IntCounterVec>,
}

/// Formats an event as a line.
fn line(level: Level, message: &str, others: Vec<(&'static str, Value)>) -> String {
    let level = level.as_str().to_lowercase();
    if FORMAT.get() == Some(&Format::Json) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = Map::new();
        line.insert("time".into(), now.as_secs().into());
        line.insert("level".into(), level.into());
        line.insert("message".into(), message.into());
        line.extend(others.into_iter().map(|(name, value)| (name.into(), value)));
        return Value::Object(line).to_string();
    }
    let mut line = format!("{level}: {message}");
    for (name, value) in others {
        write!(line, " {name}={value}").ok();
    }
    line
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
        write_line(line(*level, &fields.message, fields.others));
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// The message and the other fields of an event.
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
