//! The two text forms: OpenMetrics, which the library writes, and the older one of Prometheus, made of it.

use http::{HeaderMap, header};
use std::fmt::Write;

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl TextForm {
    /// The one that a client asks for: OpenMetrics where it names that, and wants it no less than plain text.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).into_iter();
        let ranges = values.flat_map(|value| value.to_str().unwrap_or("").split(','));
        let (mut open, mut plain) = (0.0, 0.0);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
            match media.as_str() {
                "application/openmetrics-text" => open = quality,
                "text/plain" => plain = quality,
                _ => {}
            }
        }
        match open > 0.0 && open >= plain {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// For `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The same in Prometheus' own form: a counter's family is named as its samples are, an info is a gauge, what is
/// unknown is untyped, and there is no unit and no end.
pub(super) fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 1024);
    // The help comes before the type, by which the family's name is known.
    let mut help = "";
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some((name, kind)) = family(line) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let help = help.strip_prefix(name).unwrap_or_default();
            // Writing to a String can't fail.
            let _ = writeln!(text, "# HELP {name}{suffix}{help}");
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn family(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_names_families_as_their_samples() {
        let open = "# HELP a A.\n# TYPE a counter\na_total{b=\"# x\"} 1\n# HELP b B.\n# TYPE b info\nb_info{c=\"d\"} 1\n# HELP g_bytes G.\n# TYPE g_bytes gauge\n# UNIT g_bytes bytes\ng_bytes 2\n# EOF\n";
        let plain = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"# x\"} 1\n# HELP b_info B.\n# TYPE b_info gauge\nb_info{c=\"d\"} 1\n# HELP g_bytes G.\n# TYPE g_bytes gauge\ng_bytes 2\n";
        assert_eq!(classic(open), plain);
    }

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        let wanted = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            TextForm::wanted(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(wanted(prometheus), TextForm::OpenMetrics);
        assert_eq!(
            wanted("application/openmetrics-text"),
            TextForm::OpenMetrics
        );
        for accept in [
            "*/*",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.3, text/plain",
        ] {
            assert_eq!(wanted(accept), TextForm::Prometheus, "{accept}");
        }
        assert_eq!(TextForm::wanted(&HeaderMap::new()), TextForm::Prometheus);
    }
}
