//! JSON lines (NDJSON): an envelope, or what the hub itself has to say, on each.

use super::{Notice, envelope};
use crate::event::Event;
use bytes::Bytes;

pub(super) fn event(event: &Event, data: &Bytes) -> Bytes {
    let mut out = String::with_capacity(data.len() + 256);
    envelope::write(&mut out, event, data);
    out.push('\n');
    out.into()
}

pub(super) fn notice(notice: &Notice) -> Bytes {
    let id = notice.id.to_string();
    let data = envelope::json(&notice.say);
    said(notice.say.kind(), Some(&id), &data).into()
}

/// What the hub has to say; `data` is JSON.
pub(super) fn said(kind: &str, id: Option<&str>, data: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!(",\"id\":{}", envelope::json(&id)));
    format!("{{\"type\":\"{kind}\"{id},\"data\":{data}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_says_has_a_type_and_where_there_is_one_an_id() {
        assert_eq!(
            said("hub:position", Some("0-0"), "{}"),
            "{\"type\":\"hub:position\",\"id\":\"0-0\",\"data\":{}}\n"
        );
        assert_eq!(
            said("hub:closing", None, "{\"reason\":\"drain\"}"),
            "{\"type\":\"hub:closing\",\"data\":{\"reason\":\"drain\"}}\n"
        );
    }
}
