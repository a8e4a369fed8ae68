//! Which form a client wants, by its `Accept` header (RFC 9110, section 12.5.1).

use http::{HeaderMap, header};

/// The media types in which feeds are served, the preferred one first.
const SERVED: [&str; 1] = ["text/event-stream"];

/// The served media type that the client prefers; `None` where it accepts none. No header means any,
/// and so does an empty one.
pub(super) fn preferred(headers: &HeaderMap) -> Option<&'static str> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        // A header that is no text accepts nothing that we know.
        ranges.extend(value.to_str().unwrap_or("?").split(',').filter_map(range));
    }
    if ranges.is_empty() {
        ranges.push(("*/*".to_owned(), 1.0));
    }
    let mut best = None;
    for media in SERVED {
        let quality = quality(&ranges, media);
        if quality > best.map_or(0.0, |(_, best)| best) {
            best = Some((media, quality));
        }
    }
    best.map(|(media, _)| media)
}

/// What the most specific range that includes `media` says of it.
fn quality(ranges: &[(String, f32)], media: &str) -> f32 {
    let kind = media.split('/').next().unwrap_or_default();
    let of = |wanted: &str| {
        ranges
            .iter()
            .find(|(range, _)| range == wanted)
            .map(|(_, quality)| *quality)
    };
    of(media)
        .or_else(|| of(&format!("{kind}/*")))
        .or_else(|| of("*/*"))
        .unwrap_or(0.0)
}

fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts
        .next()
        .filter(|media| !media.is_empty())?
        .to_ascii_lowercase();
    let quality =
        parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((
        media,
        quality.map_or(1.0, |text| text.parse().unwrap_or(0.0)),
    ))
}

/// What to say to a client that accepts none of them.
pub(super) fn served() -> String {
    SERVED.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        preferred(&headers)
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert_eq!(of("text/event-stream"), Some("text/event-stream"));
        assert_eq!(of("Text/*;q=0.5, */*;q=0"), Some("text/event-stream"));
        assert_eq!(of("text/event-stream;q=0, */*"), None);
        assert_eq!(of("text/html"), None);
        assert_eq!(of(""), Some("text/event-stream"));
        assert_eq!(of(" , "), Some("text/event-stream"));
        assert_eq!(preferred(&HeaderMap::new()), Some("text/event-stream"));
    }
}
