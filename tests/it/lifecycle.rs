//! A replica's beginning and end.

use crate::replica::Replica;
use crate::sse::Stream;

#[tokio::test]
async fn a_replica_that_ends_tells_its_readers_and_waits_for_them() {
    let replica = Replica::start(&[]).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a").await;
    let id = replica.publish("a", "last").await;
    assert_eq!(stream.data(1).await, ["last"]);
    assert_eq!(replica.hub().usage().readers, 1);
    replica.stop().await;
    let closing = stream.event().await;
    assert_eq!(
        (closing.kind.as_str(), closing.data.as_str()),
        ("hub:closing", r#"{"reason":"drain"}"#)
    );
    assert_eq!(closing.id, id.to_string());
    assert!(closing.retry.is_some());
    assert_eq!(stream.next().await, None);
}
