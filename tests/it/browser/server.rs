//! The program with its log in a folder, to be killed and started again where it was.

use crate::program::Program;
use std::net::SocketAddr;
use std::path::Path;

/// A running server. Dropping it ends it.
pub(super) struct Server(Program);

impl Server {
    /// Starts it, and waits until it follows its log.
    pub(super) async fn on_disk(address: SocketAddr, folder: &Path) -> Self {
        let address = address.to_string();
        let folder = folder.to_str().expect("text");
        let arguments = ["--listen", &address, "--retry", "50", "--data", folder];
        let mut program = Program::start(&arguments);
        while !program.complaint().await.contains("following the log") {}
        Self(program)
    }

    /// `kill -9`, and waits until it is gone.
    pub(super) async fn kill(self) {
        self.0.signal("KILL").await;
        self.0.end().await;
    }
}
