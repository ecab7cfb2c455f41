//! Kubernetes quantities (`0.5`, `10k`, `64Mi`) and durations (`90s`, `5m`), parsed exactly.

use std::{fmt, time::Duration};

/// A value that is not a quantity or a duration; the text is a full sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError(String);

impl UnitError {
    /// An error with the sentence that the user reads.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnitError {}

/// A non-negative amount in thousandths, so that rates below one (`"0.5"` records per second) are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    thousandths: u64,
}

impl Quantity {
    /// A whole number.
    #[must_use]
    pub fn whole(n: u64) -> Self {
        Self { thousandths: n.saturating_mul(1000) }
    }

    /// From thousandths of the unit.
    #[must_use]
    pub fn from_thousandths(thousandths: u64) -> Self {
        Self { thousandths }
    }

    /// The amount in thousandths of the unit.
    #[must_use]
    pub fn thousandths(self) -> u64 {
        self.thousandths
    }

    /// Whether the amount is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.thousandths == 0
    }

    /// Parses Kubernetes' notation for quantities: decimal digits with an optional fraction and one of the
    /// suffixes `m k M G T Ki Mi Gi Ti` (no exponents, nothing negative).
    ///
    /// # Errors
    /// A sentence that names the text and the notation.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let refuse = || {
            UnitError(format!(
                "`{text}` is not a quantity; write digits with an optional fraction and suffix, such as 0.5, 200, 10k or 64Mi"
            ))
        };
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(split);
        let multiplier: u128 = match suffix {
            "m" => 1,
            "" => 1000,
            "k" => 1000 * 1000,
            "M" => 1000 * 1000_u128.pow(2),
            "G" => 1000 * 1000_u128.pow(3),
            "T" => 1000 * 1000_u128.pow(4),
            "Ki" => 1000 * 1024,
            "Mi" => 1000 * 1024_u128.pow(2),
            "Gi" => 1000 * 1024_u128.pow(3),
            "Ti" => 1000 * 1024_u128.pow(4),
            _ => return Err(refuse()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || whole.len() > 18 || fraction.len() > 9 {
            return Err(refuse());
        }
        let whole: u128 = whole.parse().map_err(|_| refuse())?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| refuse())?);
        let fraction: u128 = fraction.parse().map_err(|_| refuse())?;
        let thousandths = whole * multiplier + fraction * multiplier / scale;
        u64::try_from(thousandths).map(|thousandths| Self { thousandths }).map_err(|_| refuse())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.thousandths / 1000, self.thousandths % 1000);
        if rest == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{}", format!("{whole}.{rest:03}").trim_end_matches('0'))
        }
    }
}

/// Parses a duration such as `500ms`, `90s`, `5m`, `1h` or `1h30m`.
///
/// # Errors
/// A sentence that names the text and the notation.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let refuse =
        || UnitError(format!("`{text}` is not a duration; write for example 500ms, 90s, 5m, 1h or 1h30m"));
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let count: u64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86400),
            _ => return Err(refuse()),
        };
        let count = u32::try_from(count).map_err(|_| refuse())?;
        total = unit.checked_mul(count).and_then(|d| total.checked_add(d)).ok_or_else(refuse)?;
        rest = &rest[end..];
    }
    if text.is_empty() { Err(refuse()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_in_thousandths() {
        for (text, thousandths) in [
            ("0.5", 500),
            ("200", 200_000),
            ("10k", 10_000_000),
            ("1Mi", 1_048_576_000),
            ("250m", 250),
            ("1.5k", 1_500_000),
        ] {
            assert_eq!(Quantity::parse(text).map(Quantity::thousandths), Ok(thousandths), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_text_in_the_sentence() {
        for text in ["", "-1", "1e3", "5 k", ".5", "5.", "k", "99999999999999999999"] {
            let error = Quantity::parse(text).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
        for text in ["", "5", "m5", "5x", "-5s", "1.5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn a_quantity_prints_without_needless_zeros() {
        assert_eq!(Quantity::from_thousandths(500).to_string(), "0.5");
        assert_eq!(Quantity::whole(10_000).to_string(), "10000");
    }
}
