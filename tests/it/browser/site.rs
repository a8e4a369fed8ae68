//! A site that is not the replica's: its pages are of another origin.

use axum::Router;
use axum::response::Html;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A site with one page, on a port of its own. Dropping it ends it.
pub(super) struct Site {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Site {
    pub(super) async fn start(page: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Router::new().fallback(move || async move { Html(page) });
        let serving = tokio::spawn(async { axum::serve(listener, pages).await.unwrap() });
        Self { address, serving }
    }

    /// Its page, of another origin on this machine.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Its page, of a site that is not this machine by its name.
    pub(super) fn elsewhere(&self) -> String {
        format!("http://elsewhere.test:{}/", self.address.port())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
