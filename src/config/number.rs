//! Numbers, as options take them.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// A whole number within bounds, of some unit or of none; an error says all of it.
pub(crate) fn whole<T: FromStr>(
    bounds: RangeInclusive<u64>,
    unit: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse::<u64>().ok();
        let number = number.filter(|number| bounds.contains(number));
        let number = number.and_then(|_| text.parse().ok());
        number.ok_or_else(|| {
            let of = if unit.is_empty() { "" } else { " of " };
            let (least, most) = (bounds.start(), bounds.end());
            match *most {
                u64::MAX => format!("it is a whole number{of}{unit}, {least} or more"),
                _ => format!("it is a whole number{of}{unit} from {least} to {most}"),
            }
        })
    }
}

/// How many there may be of something, `least` or more.
pub(crate) fn count<T: FromStr>(
    least: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    whole(least..=u32::MAX.into(), "")
}

/// So many bytes, `least` or more.
pub(crate) fn bytes<T: FromStr>(
    least: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    whole(least..=u64::MAX, "bytes")
}

/// A number that need not be whole.
pub(crate) fn decimal(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| "it is a number, as in 0.5 or 20".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_within_the_bounds_is_told_them_with_their_unit() {
        let seconds = whole::<u16>(1..=3600, "seconds");
        assert_eq!(seconds("3600"), Ok(3600));
        for text in [
            "",
            "25s",
            "-1",
            "1.5",
            "1e3",
            "0",
            "3601",
            "99999999999999999999",
        ] {
            let right = "it is a whole number of seconds from 1 to 3600";
            assert_eq!(seconds(text), Err(right.to_owned()), "{text}");
        }
        for (error, right) in [
            (
                count::<u32>(1)("0").map(|_| ()),
                "it is a whole number from 1 to 4294967295",
            ),
            (
                bytes::<u64>(1)("0").map(|_| ()),
                "it is a whole number of bytes, 1 or more",
            ),
        ] {
            assert_eq!(error, Err(right.to_owned()));
        }
    }
}
