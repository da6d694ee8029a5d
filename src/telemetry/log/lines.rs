//! The formats of log lines outside a terminal: JSON, with each value once and with its own type; and text for the journal,
//! which records the time itself and reads the priority from the beginning of the line.

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// One JSON object per line: `timestamp`, `level`, `message`, `target`, and the fields of the event and its spans, each
/// under its own name.
pub(super) struct Json;

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        line.insert("target".to_owned(), event.metadata().target().into());
        event.record(&mut Fields(&mut line));
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>().map(|fields| fields.fields.as_str());
            let fields = fields.and_then(|fields| serde_json::from_str::<Map<String, Value>>(fields).ok());
            for (name, value) in fields.into_iter().flatten() {
                // The event's own fields take precedence, then those of the innermost span.
                line.entry(name).or_insert(value);
            }
        }
        // The fields that a person looks for come first.
        let time = Timestamp::now();
        let level = event.metadata().level();
        let message = line.remove("message").unwrap_or_default();
        let rest = Value::Object(line).to_string();
        let rest = rest.strip_prefix('{').unwrap_or(&rest);
        writeln!(writer, "{{\"timestamp\":\"{time:.6}\",\"level\":\"{level}\",\"message\":{message},{rest}")
    }
}

/// The fields of an event as JSON values.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// The message, followed by the fields: `name=value`.
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        context.format_fields(writer.by_ref(), event)?;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(writer, " {}", fields.fields)?;
            }
        }
        writeln!(writer)
    }
}

/// Another format, with the journal's priority before each line.
pub(super) struct Prefixed<F>(pub(super) F);

impl<F, S, N> FormatEvent<S, N> for Prefixed<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        writer.write_str(&prefixed(&text, priority(*event.metadata().level())))
    }
}

/// syslog's number for a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The text with `<priority>` before each line. Without it a line gets the journal's default priority.
pub(super) fn prefixed(text: &str, priority: u8) -> String {
    let mut prefixed = String::new();
    for line in text.lines() {
        // Writing into a string does not fail.
        let _ = writeln!(prefixed, "<{priority}>{line}");
    }
    prefixed
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span, warn};
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events() {
        let span = info_span!("delivery", delivery.id = "d1", file.name = "a \"b\".mp4", attempt = 2);
        let _inside = span.enter();
        info!(attempt = 3, size_bytes = 7_u64, "delivered");
        warn!(error = "one\ntwo", "odd");
    }

    fn written(subscriber: impl Subscriber + Send + Sync, page: &Page) -> String {
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_says_each_thing_once_and_as_it_is() {
        let page = Page::default();
        let writer = page.clone();
        let lines =
            fmt::layer().fmt_fields(JsonFields::new()).event_format(Json).with_writer(move || writer.clone());
        let text = written(tracing_subscriber::registry().with(lines), &page);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["file.name"], "a \"b\".mp4");
        assert_eq!(
            (&first["attempt"], &first["size_bytes"]),
            (&3.into(), &7.into()),
            "the event's own counts"
        );
        assert_eq!((&first["message"], &first["level"]), (&"delivered".into(), &"INFO".into()));
        assert_eq!(text.matches("a \\\"b\\\".mp4").count(), 2, "once a line: {text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn the_journal_gets_priorities_and_no_times() {
        let page = Page::default();
        let writer = page.clone();
        let lines =
            fmt::layer().with_ansi(false).event_format(Prefixed(Text)).with_writer(move || writer.clone());
        let text = written(tracing_subscriber::registry().with(lines), &page);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "<6>delivered attempt=3 size_bytes=7 delivery.id=\"d1\" file.name=\"a \\\"b\\\".mp4\" attempt=2"
        );
        assert!(lines[1].starts_with("<4>odd error=\"one\\ntwo\""), "{text}");
        assert_eq!(prefixed("a\nb\n", 3), "<3>a\n<3>b\n");
    }
}
