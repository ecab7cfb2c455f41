//! Logs and rates. Log lines are JSON objects with `timestamp`, `level`, `service`, `message`, the object's
//! `namespace` and `name`, and the fields of the event. Metrics live in the rooms that count them.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Starts logging to standard output; the level comes from `WEIR_LOG` (default `info`).
pub(crate) fn init(namespace: &str, name: &str) {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // The client's own wrapper complains about closing twice, which is how it is closed with a deadline.
    let filter =
        filter.add_directive("rdkafka=off".parse().expect("the directive is constant and well formed"));
    let format = JsonLines { namespace: namespace.to_owned(), name: name.to_owned() };
    tracing_subscriber::fmt().with_env_filter(filter).event_format(format).init();
}

struct JsonLines {
    namespace: String,
    name: String,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let coordinates = [
            ("timestamp", rfc3339(SystemTime::now())),
            ("level", event.metadata().level().to_string()),
            ("service", "weir-worker".to_owned()),
            ("message", fields.0.remove("message").and_then(text).unwrap_or_default()),
            ("namespace", self.namespace.clone()),
            ("name", self.name.clone()),
        ];
        // Written by hand because people read it too, and a map would sort the message away from the front.
        let mut separator = '{';
        for (name, value) in coordinates {
            write!(writer, "{separator}\"{name}\":{}", Value::from(value))?;
            separator = ',';
        }
        for (name, value) in fields.0 {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

/// Milliseconds since 1970 in UTC, as Kafka counts them; zero for a clock that stands before 1970.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// RFC 3339 in UTC with milliseconds. The date follows Hinnant's `civil_from_days`.
fn rfc3339(time: SystemTime) -> String {
    let millis = unix_millis(time);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// How fast a counter grew over the last seconds. Time is passed in.
#[derive(Debug)]
pub(crate) struct RateMeter {
    samples: VecDeque<(Duration, u64)>,
}

const RATE_WINDOW: Duration = Duration::from_secs(5);

impl RateMeter {
    /// For a counter that stands at zero at moment zero.
    pub(crate) fn starting_at_zero() -> Self {
        Self { samples: VecDeque::from([(Duration::ZERO, 0)]) }
    }

    /// Notes that the counter stood at `count` at `now` (since any fixed moment) and tells records per second.
    pub(crate) fn sample(&mut self, now: Duration, count: u64) -> u64 {
        self.samples.push_back((now, count));
        while self.samples.len() > 2 && now.saturating_sub(self.samples[1].0) >= RATE_WINDOW {
            self.samples.pop_front();
        }
        let (since, base) = self.samples[0];
        per_second(count.saturating_sub(base), now.saturating_sub(since))
    }
}

/// `count` per second of `elapsed`, rounded down; zero for no time at all.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> u64 {
    let nanos = elapsed.as_nanos();
    if nanos == 0 {
        return 0;
    }
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_359_485_006, "2026-11-22T14:58:05.006Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_rate_forgets_what_lies_longer_back_than_its_window() {
        let mut meter = RateMeter::starting_at_zero();
        for second in 0..=10 {
            meter.sample(Duration::from_secs(second), second * 100);
        }
        assert_eq!(meter.sample(Duration::from_secs(11), 1100), 100);
        for second in 12..=20 {
            meter.sample(Duration::from_secs(second), 1100);
        }
        assert_eq!(meter.sample(Duration::from_secs(21), 1100), 0);
    }
}
