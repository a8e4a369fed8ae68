//! The program's own clients with credentials.

use super::{guarded, right};
use crate::program::Program;

#[tokio::test]
async fn publish_and_tail_show_the_token_that_they_are_given_and_do_not_tell_it() {
    let replica = guarded(&[]).await;
    let url = replica.url("");
    let (right, wrong) = (right(), "x.y.z".to_owned());
    for (token, code) in [(&right, 0), (&wrong, 1)] {
        for arguments in [
            &["publish", "--url", &url, "a.b", "1", "--token", token][..],
            &[
                "tail", "--url", &url, "a.b", "--last", "1", "--count", "1", "--token", token,
            ],
        ] {
            let ended = Program::run(arguments, b"").await;
            assert_eq!(ended.code(), Some(code), "{ended:?}");
            assert!(!ended.err.contains(token.as_str()), "{ended:?}");
        }
    }
}
