//! Which form a client wants, by its `Accept` header (RFC 9110, section 12.5.1).

use http::{HeaderMap, header};

/// A form in which feeds are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// Server-Sent Events.
    EventStream,
    /// Envelopes, one a line, as they come.
    Ndjson,
    /// Envelopes that there are, at once.
    Json,
}

impl Media {
    /// All forms, the preferred one first.
    const ALL: [Self; 3] = [Self::EventStream, Self::Ndjson, Self::Json];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Json => "application/json",
        }
    }
}

/// What a client says of a media type: how much it wants it, and how closely it names it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Wish {
    quality: f32,
    closeness: u8,
}

/// The form that the client prefers, and of those that it wants alike the one that it names more closely; `None` where
/// it accepts none. No header means any, and so does an empty one.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Media> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        // A header that is no text accepts nothing that we know.
        ranges.extend(value.to_str().unwrap_or("?").split(',').filter_map(range));
    }
    if ranges.is_empty() {
        ranges.push(("*/*".to_owned(), 1.0));
    }
    let mut best: Option<(Media, Wish)> = None;
    for media in Media::ALL {
        let wish = wish(&ranges, media);
        if let Some(wish) = wish.filter(|wish| best.is_none_or(|(_, best)| *wish > best)) {
            best = Some((media, wish));
        }
    }
    best.map(|(media, _)| media)
}

/// What the most specific range that includes `media` says of it; nothing where it is not accepted.
fn wish(ranges: &[(String, f32)], media: Media) -> Option<Wish> {
    let media = media.as_str();
    let kind = media.split('/').next().unwrap_or_default();
    let of = |wanted: &str, closeness| {
        let found = ranges.iter().find(|(range, _)| range == wanted);
        found.map(|&(_, quality)| Wish { quality, closeness })
    };
    let wish = of(media, 2)
        .or_else(|| of(&format!("{kind}/*"), 1))
        .or_else(|| of("*/*", 0));
    wish.filter(|wish| wish.quality > 0.0)
}

fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts
        .next()
        .filter(|media| !media.is_empty())?
        .to_ascii_lowercase();
    let quality =
        parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    // What is no weight, `NaN` and `inf` among them, wants nothing.
    let weight = |text: &str| text.parse().ok().filter(|one| (0.0..=1.0).contains(one));
    Some((
        media,
        quality.map_or(1.0, |text| weight(text).unwrap_or(0.0)),
    ))
}

/// What to say to a client that accepts none of them.
pub(super) fn served() -> String {
    Media::ALL.map(Media::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        preferred(&headers).map(Media::as_str)
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert_eq!(of("text/event-stream"), Some("text/event-stream"));
        assert_eq!(of("Text/*;q=0.5, */*;q=0"), Some("text/event-stream"));
        assert_eq!(of("application/x-ndjson"), Some("application/x-ndjson"));
        assert_eq!(
            of("text/event-stream;q=0, */*"),
            Some("application/x-ndjson")
        );
        assert_eq!(of("text/html"), None);
        assert_eq!(of("text/html, */*;q=0"), None);
        assert_eq!(of("*/*"), Some("text/event-stream"));
        assert_eq!(of(""), Some("text/event-stream"));
        assert_eq!(of(" , "), Some("text/event-stream"));
        for weight in ["inf", "NaN", "1e9", "-1", "2", ""] {
            let accept = format!("text/event-stream;q={weight}, application/json;q=0.1");
            assert_eq!(of(&accept), Some("application/json"), "{weight}");
        }
        assert_eq!(preferred(&HeaderMap::new()), Some(Media::EventStream));
    }

    #[test]
    fn what_is_named_goes_before_what_is_merely_let_pass() {
        assert_eq!(
            of("application/json, text/plain, */*"),
            Some("application/json")
        );
        assert_eq!(of("application/*, */*"), Some("application/x-ndjson"));
        assert_eq!(
            of("application/json;q=0.9, text/event-stream;q=0.8"),
            Some("application/json")
        );
        assert_eq!(
            of("application/json;q=0.5, */*;q=0.8"),
            Some("text/event-stream")
        );
    }

    /// The rule as RFC 9110 has it: for each form the most specific range that there is, and the form with the most.
    fn expected(ranges: &[(&str, u8)]) -> Option<&'static str> {
        let of = |form: &str| {
            let kind = form.split('/').next().unwrap();
            let wanted = [form.to_owned(), format!("{kind}/*"), "*/*".to_owned()];
            let named = wanted.iter().enumerate().find_map(|(at, wanted)| {
                let (_, tenths) = ranges.iter().find(|(range, _)| range == wanted)?;
                Some((*tenths, 2 - at))
            });
            named.filter(|(tenths, _)| *tenths > 0)
        };
        let mut best = None;
        for form in Media::ALL.map(Media::as_str) {
            if of(form) > best.and_then(of) {
                best = Some(form);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_form_is_the_one_that_the_rule_names(
            ranges in prop::collection::vec((prop::sample::select(vec![
                "text/event-stream", "application/x-ndjson", "application/json", "text/html", "text/*",
                "application/*", "*/*",
            ]), 0u8..=10), 1..6),
        ) {
            let header: Vec<_> = ranges
                .iter()
                .map(|(range, tenths)| format!("{range};q={}.{}", tenths / 10, tenths % 10))
                .collect();
            prop_assert_eq!(of(&header.join(", ")), expected(&ranges));
        }

        #[test]
        fn whatever_bytes_come_a_form_that_is_refused_is_not_chosen(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"*/;q=,.1 ".to_vec())],
                0..60,
            ),
        ) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let refused = HeaderValue::from_static("application/json;q=0");
                let mut headers = HeaderMap::from_iter([(header::ACCEPT, refused)]);
                headers.append(header::ACCEPT, value);
                prop_assert_ne!(preferred(&headers), Some(Media::Json));
            }
        }
    }
}
