//! The metrics as numbers by name, for those who read JSON.

use super::Metrics;
use serde_json::Number;
use std::collections::BTreeMap;

impl Metrics {
    /// The value of each sample by its name without the prefix, with its labels. Buckets of histograms are left out, and
    /// what is no more than text.
    pub fn values(&self) -> BTreeMap<String, Number> {
        let text = self.text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(value).collect()
    }
}

fn value(sample: &str) -> Option<(String, Number)> {
    let (name, value) = sample.rsplit_once(' ')?;
    let name = name.strip_prefix("tidings_")?;
    let family = name.split('{').next().unwrap_or(name);
    if family.ends_with("_bucket") || family.ends_with("_info") {
        return None;
    }
    let number = match value.parse::<u64>() {
        Ok(whole) => whole.into(),
        Err(_) => Number::from_f64(value.parse().ok()?)?,
    };
    Some((name.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_its_name_and_its_number() {
        let of = |sample| value(sample).map(|(name, number)| format!("{name}={number}"));
        assert_eq!(of("tidings_gaps_total 3").as_deref(), Some("gaps_total=3"));
        assert_eq!(of("tidings_lag 0.5").as_deref(), Some("lag=0.5"));
        assert_eq!(
            of(r#"tidings_a_total{reason="b c"} 1"#).as_deref(),
            Some(r#"a_total{reason="b c"}=1"#)
        );
        assert_eq!(of(r#"tidings_a_bucket{le="1"} 1"#), None);
        assert_eq!(of(r#"tidings_replica_info{name="x"} 1"#), None);
    }
}
