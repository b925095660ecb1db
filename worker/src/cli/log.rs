//! How log lines look: each event on one line, whatever its fields quote.

use std::{fmt, io::IsTerminal, sync::OnceLock};

use sandfleet_common::{PrintableText, printable_line};
use serde_json::{Map, Value, json};
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::{MakeExt, Visit},
    filter::{LevelFilter, filter_fn},
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Writer, debug_fn},
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::{
    log_writer::{Flush, LogWriter},
    terminal::MAX_LINE_BYTES,
};
use crate::config::{LogFormat, Settings};

/// The libraries that log connections.
const LIBRARIES: [&str; 6] = ["lapin", "amq_protocol", "async_rs", "redis", "rustls", "bollard"];

/// The writer of a process that serves, of which there is one at most.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// How many lines of the log were lost so far.
pub(super) fn lost_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.lost().count())
}

/// Logs go to standard error: standard output is for results. A command that serves jobs doesn't wait for standard error;
/// what is left is written when the returned value is dropped.
#[allow(clippy::disallowed_methods, reason = "every field is made printable first")]
pub(super) fn log_in_background(settings: &Settings) -> Option<Flush> {
    let notice = match settings.log.format {
        LogFormat::Json => json_notice,
        LogFormat::Text => text_notice,
    };
    match LogWriter::to(std::io::stderr(), notice) {
        Ok((writer, flush)) => {
            log_to(WRITER.get_or_init(|| writer).clone(), settings, &settings.log.level);
            Some(flush)
        }
        // Without a thread for the log there will be none for jobs either; that is still said.
        Err(error) => {
            log_to_stderr(settings, &settings.log.level);
            tracing::warn!(%error, "the log has no thread of its own; a standard error that takes nothing stops the process");
            None
        }
    }
}

/// As [`log_in_background`], each line written before the next thing is done: for commands that print as well.
#[allow(clippy::disallowed_methods, reason = "every field is made printable first")]
pub(super) fn log_to_stderr(settings: &Settings, level: &str) {
    log_to(std::io::stderr, settings, level);
}

const LOST: &str =
    "lines of the log were lost: standard error took none for a while, or writing there failed";

fn text_notice(lines: u64) -> String {
    format!("{}  WARN {}: {LOST} lines={lines}\n", timestamp(), module_path!())
}

fn json_notice(lines: u64) -> String {
    let line = json!({
        "timestamp": timestamp(),
        "level": "WARN",
        "fields": { "message": LOST, "lines": lines },
        "target": module_path!(),
    });
    format!("{line}\n")
}

fn timestamp() -> String {
    let mut timestamp = String::new();
    // Writing into a text doesn't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    timestamp
}

#[allow(clippy::disallowed_methods, reason = "nothing is written here")]
fn log_to<W>(writer: W, settings: &Settings, level: &str)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(quiet_libraries(level)).unwrap_or_default();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    // Libraries trace what they send: passwords, and the code and the output of jobs. And lapin warns of a
    // message that no queue takes with all that is in it; the error that follows says what has to be said.
    let no_traffic = filter_fn(|event| {
        let is_ours = event.target().starts_with("sandfleet");
        is_ours || *event.level() != Level::TRACE && event.target() != "lapin::returned_messages"
    });
    match settings.log.format {
        LogFormat::Json => log.event_format(JsonLine).finish().with(no_traffic).init(),
        LogFormat::Text => log.fmt_fields(text_fields()).finish().with(no_traffic).init(),
    }
}

/// `level` without what libraries say of connections that fail: it is known from what they return, and said once
/// instead of at each try. A level above `info`, or a library by its name, shows it.
fn quiet_libraries(level: &str) -> String {
    let wants_more = EnvFilter::try_new(level)
        .ok()
        .and_then(|filter| filter.max_level_hint())
        .is_some_and(|most| most > LevelFilter::INFO);
    if wants_more {
        return level.to_owned();
    }
    let quiet: Vec<_> = LIBRARIES.iter().map(|library| format!("{library}=off")).collect();
    // Of two directives for one name the second counts.
    format!("{},{level}", quiet.join(","))
}

/// The fields of an event as text.
fn text_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| match field.name() {
        // It may hold more than one text of outside origin.
        "message" => {
            write!(writer, "{}", printable_line(format_args!("{value:?}"), MAX_LINE_BYTES))
        }
        name => write!(writer, "{name}={}", PrintableText::new(format_args!("{value:?}"))),
    })
    .delimited(" ")
}

/// An event as one JSON object.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = json!({
            "timestamp": timestamp(),
            "level": metadata.level().as_str(),
            "fields": fields.0,
            "target": metadata.target(),
        });
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = PrintableText::new(format_args!("{value:?}"));
        self.0.insert(field.name().into(), String::from(text).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), String::from(PrintableText::new(value)).into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use sandfleet_common::is_printable;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What is logged of events with `hostile` in every place.
    fn logged(format: LogFormat, hostile: &str) -> String {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone());
        let event = || {
            let error = anyhow::anyhow!("{hostile}");
            tracing::warn!(%error, reason = hostile, debug = ?hostile, "it said {hostile}");
        };
        match format {
            LogFormat::Json => {
                tracing::subscriber::with_default(log.event_format(JsonLine).finish(), event);
            }
            LogFormat::Text => {
                tracing::subscriber::with_default(log.fmt_fields(text_fields()).finish(), event);
            }
        }
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn log_lines_say_what_they_said_before() {
        let text = logged(LogFormat::Text, "gone");
        let end = "it said gone error=gone reason=\"gone\" debug=\"gone\"\n";
        assert!(text.ends_with(end) && text.contains(" WARN sandfleet_worker::cli::log"), "{text}");
        let json: Value = serde_json::from_str(&logged(LogFormat::Json, "gone")).expect("JSON");
        assert_eq!(json["fields"]["message"], "it said gone");
        assert_eq!((&json["level"], &json["fields"]["reason"]), (&"WARN".into(), &"gone".into()));
    }

    proptest! {
        #[test]
        fn whatever_an_event_quotes_its_line_is_one_printable_and_bounded(
            text in any::<String>(), long in 0_usize..3,
        ) {
            let hostile = format!("\u{1b}[2J\r\n\u{9b}\u{202e}{text}{}", "x".repeat(long * 10_000));
            for format in [LogFormat::Text, LogFormat::Json] {
                let logged = logged(format, &hostile);
                let line = logged.strip_suffix('\n').expect("a line");
                prop_assert!(line.chars().all(is_printable), "{:?}", line);
                prop_assert!(line.len() < MAX_LINE_BYTES + 4 * PrintableText::MAX_BYTES);
            }
        }
    }
}
