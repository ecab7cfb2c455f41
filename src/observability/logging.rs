//! Logs: one JSON object per line on standard output, with `timestamp`, `level`, `service`, `target`, `message`, the
//! fields of the event and those of its spans (`namespace`, `name`, `kind`, `reconcile_id`, `trace_id`).
//!
//! `main` calls [`init`] once; the returned [`LogLevel`] changes the filter while the process runs.

use std::io::{self, Write};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

/// Value of the `service` field.
const SERVICE: &str = "weir";

/// Why logging could not be set up, or its level not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggingError {
    /// The text is not a filter.
    #[error(
        "failed to read `{filter}` as a log filter; write a level such as info, or targets such as info,weir=debug"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody set up logging before.
    #[error("failed to install the logger")]
    Install(#[from] TryInitError),
    /// The filter is gone.
    #[error("failed to replace the log filter")]
    Replace(#[from] reload::Error),
}

/// Changes the filter of the running process.
#[derive(Debug, Clone)]
pub(crate) struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogLevel {
    /// Replaces the filter by `filter`, such as `debug` or `info,weir=debug`.
    ///
    /// # Errors
    /// If the text is not a filter; the one in force then stays.
    pub(crate) fn set(&self, filter: &str) -> Result<(), LoggingError> {
        self.filter.reload(parse(filter)?)?;
        tracing::info!(filter, "The log filter was replaced.");
        Ok(())
    }
}

/// Sends all events of the process that pass `filter` to standard output.
///
/// # Errors
/// If the text is not a filter, or logging was set up before.
pub(crate) fn init(filter: &str) -> Result<LogLevel, LoggingError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    tracing_subscriber::registry().with(filter).with(JsonLines { write: io::stdout }).try_init()?;
    Ok(LogLevel { filter: handle })
}

fn parse(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })
}

/// Writes each event as one line to what `write` opens.
struct JsonLines<F> {
    write: F,
}

/// The fields of a span, kept with it.
struct SpanFields(Map<String, Value>);

impl<S, F, W> Layer<S> for JsonLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn() -> W + 'static,
    W: Write,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        span.extensions_mut().insert(SpanFields(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(fields)) = span.extensions_mut().get_mut() {
            values.record(&mut Collect(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        line.insert("timestamp".into(), k8s_openapi::jiff::Timestamp::now().to_string().into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("service".into(), SERVICE.into());
        line.insert("target".into(), event.metadata().target().into());
        line.insert("message".into(), "".into());
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                line.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut Collect(&mut line));
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // Nobody is left to tell when standard output is closed.
        let _ = (self.write)().write_all(text.as_bytes());
    }
}

/// Collects fields as JSON values.
struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Collect<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        self.insert(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn parsed(&self) -> Vec<Value> {
            let bytes = self.0.lock().expect("no test panics while it writes").clone();
            let text = String::from_utf8(bytes).expect("lines are text");
            text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
        }
    }

    /// Logs into memory while `work` runs.
    fn logged(filter: &str, work: impl FnOnce(&LogLevel)) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let (filter, handle) = reload::Layer::new(parse(filter).expect("a filter"));
        let subscriber =
            tracing_subscriber::registry().with(filter).with(JsonLines { write: move || writer.clone() });
        tracing::subscriber::with_default(subscriber, || work(&LogLevel { filter: handle }));
        lines.parsed()
    }

    #[test]
    fn a_line_carries_the_fields_of_the_event_and_of_its_spans() {
        let lines = logged("info", |_| {
            let outer = tracing::info_span!(
                "reconcile",
                kind = "Topic",
                namespace = "shop",
                trace_id = tracing::field::Empty
            );
            let _outer = outer.enter();
            outer.record("trace_id", "abc");
            let _inner = tracing::info_span!("act", attempt = 2).entered();
            tracing::info!(partitions = 12, "Created the topic.");
        });
        let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
        for (field, value) in [
            ("level", Value::from("INFO")),
            ("service", "weir".into()),
            ("message", "Created the topic.".into()),
            ("kind", "Topic".into()),
            ("namespace", "shop".into()),
            ("trace_id", "abc".into()),
            ("attempt", 2.into()),
            ("partitions", 12.into()),
        ] {
            assert_eq!(line.get(field), Some(&value), "{field} in {line}");
        }
        let timestamp = line["timestamp"].as_str().expect("a text");
        assert!(timestamp.parse::<k8s_openapi::jiff::Timestamp>().is_ok(), "{timestamp}");
        assert!(line["target"].as_str().is_some_and(|target| target.starts_with("weir")));
    }

    #[test]
    fn the_level_changes_at_run_time_and_nonsense_changes_nothing() {
        let lines = logged("info", |level| {
            tracing::debug!("hidden");
            level.set("debug").expect("a filter");
            tracing::debug!("shown");
            let error = level.set("weir=loud").expect_err("not a level").to_string();
            assert!(error.contains("weir=loud"), "{error}");
            tracing::debug!("still shown");
        });
        let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
        assert_eq!(messages, ["The log filter was replaced.", "shown", "still shown"]);
    }
}
