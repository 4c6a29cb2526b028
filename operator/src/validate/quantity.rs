//! Kubernetes quantities, read so far that two can be compared.

use std::cmp::Ordering;

/// An amount in billionths, saturating: enough to compare what resources are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(u128);

const BILLION: u128 = 1_000_000_000;

impl Quantity {
    /// Reads `500m`, `0.5`, `128Mi`, `2`; `None` if it is no quantity of zero or more in a form that we accept.
    pub(super) fn parse(text: &str) -> Option<Quantity> {
        let digits_end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(digits_end)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') {
            return None;
        }
        let unit: u128 = match suffix {
            "m" => BILLION / 1_000,
            "" => BILLION,
            "k" => BILLION * 1_000,
            "M" => BILLION * 1_000_000,
            "G" => BILLION * 1_000_000_000,
            "T" => BILLION * 1_000_000_000_000,
            "P" => BILLION * 1_000_000_000_000_000,
            "E" => BILLION * 1_000_000_000_000_000_000,
            "Ki" => BILLION << 10,
            "Mi" => BILLION << 20,
            "Gi" => BILLION << 30,
            "Ti" => BILLION << 40,
            "Pi" => BILLION << 50,
            "Ei" => BILLION << 60,
            _ => return None,
        };
        let whole: u128 = whole.parse().ok()?;
        // Digits past the ninth are below what Kubernetes itself keeps.
        let fraction: u128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        let scaled_fraction = unit.checked_mul(fraction).map_or(u128::MAX, |product| product / BILLION);
        Some(Quantity(whole.saturating_mul(unit).saturating_add(scaled_fraction)))
    }

    pub(super) fn is_zero(self) -> bool {
        self.0.cmp(&0) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_compare_across_their_forms() {
        let quantity = |text: &str| Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(quantity("500m"), quantity("0.5"));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_eq!(quantity("1.5Gi"), quantity("1536Mi"));
        assert_eq!(quantity("1."), quantity("1000m"));
        assert!(quantity("1G") < quantity("1Gi"));
        assert!(quantity("0").is_zero() && quantity("0.0Mi").is_zero());
        assert!(quantity("999999999999999999999999") > quantity("1Ei"));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in ["", "-1", "+1", "1.2.3", "1 Gi", "Gi", ".5", "1e3", "1GiB", "0x10", "١"] {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
    }
}
