//! Commands that a newcomer can try, within what the server allows.

use super::in_url;
use crate::auth::Access;
use crate::event::Pattern;

/// To read and to publish, as far as everyone may, from the server at `url`, with its base path if it has one, with
/// `curl` and what options it takes.
pub(crate) fn examples(access: &Access, curl: &str, url: &str) -> Vec<String> {
    let (pattern, feed) = match access {
        Access::Local | Access::Nothing => {
            (Some("orders.*".to_owned()), Some("orders.eu".to_owned()))
        }
        Access::Anonymous {
            subscribe, publish, ..
        } => (
            subscribe.first().map(Pattern::to_string),
            publish.first().map(a_feed),
        ),
    };
    let feed_url = |name: &str| format!("'{url}/feeds/{}'", in_url(name));
    let shown = match access {
        Access::Nothing => "-H \"Authorization: Bearer $TOKEN\" ",
        Access::Local | Access::Anonymous { .. } => "",
    };
    let read = pattern.map(|pattern| format!("{curl} -N {shown}{}", feed_url(&pattern)));
    let publish = feed.map(|feed| format!("{curl} {shown}-d '{{\"n\":1}}' {}", feed_url(&feed)));
    read.into_iter().chain(publish).collect()
}

/// A feed that the pattern matches.
fn a_feed(pattern: &Pattern) -> String {
    let name = |token| match token {
        "*" | ">" => "eu",
        token => token,
    };
    pattern.tokens().map(name).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(all: &[&str]) -> Vec<Pattern> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn they_are_within_what_everyone_may_do() {
        let access = |subscribe: &[&str], publish: &[&str]| Access::Anonymous {
            subscribe: patterns(subscribe),
            publish: patterns(publish),
            request: Vec::new(),
            admin: false,
        };
        assert_eq!(
            examples(
                &access(&["public.>", "b"], &["in.*.>"]),
                "curl",
                "http://h:1"
            ),
            [
                "curl -N 'http://h:1/feeds/public.%3E'",
                "curl -d '{\"n\":1}' 'http://h:1/feeds/in.eu.eu'"
            ]
        );
        assert_eq!(
            examples(&access(&["it's"], &[]), "curl -k", "https://h:1"),
            ["curl -k -N 'https://h:1/feeds/it%27s'"]
        );
    }
}
