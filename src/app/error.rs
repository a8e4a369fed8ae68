//! Why a replica can't start.

use crate::auth::AuthError;
use crate::http::TlsError;
use crate::log::{DiskError, LogError};
use std::io;
use std::net::SocketAddr;

/// Why a replica can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that others can reach, with nothing said to be meant for them.
    #[error(
        "refusing to listen on {0} (--listen), which other machines can reach, without authentication. Say whose tokens or keys are taken, with --jwt-key-file, --jwks-url or --api-keys-file, or what is meant for everyone, with --anonymous-subscribe PATTERN and --anonymous-publish PATTERN, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The same of the listener for operators.
    #[error(
        "refusing to listen on {0} for operators (--admin-listen), which other machines can reach, without authentication. Say whose tokens or keys are taken, with --jwt-key-file, --jwks-url or --api-keys-file, or, where operators alone reach it, set --anonymous-admin, or listen on 127.0.0.1"
    )]
    AdminExposed(SocketAddr),
    /// Settings that were read again and would take away what guards a replica that runs.
    #[error(
        "they would take all authentication away, so that whoever reaches this server might do anything. If that is meant, start it anew; else give again what the settings lack: --jwt-key-file, --jwks-url, --api-keys-file, or what is meant for everyone with --anonymous-subscribe"
    )]
    Unguarded,
    /// Authentication can't be set up as told.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// TLS can't be spoken as told.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {error}{}", other_port(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The same of the listener for operators.
    #[error(
        "can't listen on {address} for operators: {error}; choose another address or port with --admin-listen"
    )]
    AdminListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The largest of what a budget is for would never be taken.
    #[error(
        "--{option} {bytes} is less than the {least} bytes of {largest}: it would never be taken. Set --{option} to that or more"
    )]
    Budget {
        /// The option that says how much all may hold.
        option: &'static str,
        /// What it says.
        bytes: usize,
        /// What is the largest, and which option says so.
        largest: &'static str,
        /// How much it holds.
        least: usize,
    },
    /// The threads that serve streams can't be started.
    #[error("can't start the threads that serve streams (--shards): {0}")]
    Shards(io::Error),
    /// The log on disk would not hold an event.
    #[error(
        "--data-max-bytes {bytes} is less than twice the largest event, {event} bytes (--max-event-bytes): the log would not hold what it is given"
    )]
    DataBytes {
        /// What the log holds.
        bytes: u64,
        /// The largest event.
        event: usize,
    },
    /// The folder can't be used for the log.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log can't be set up as told.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl StartError {
    /// Whether the settings are wrong, whatever else is on the machine.
    pub(crate) fn is_of_settings(&self) -> bool {
        !matches!(
            self,
            Self::Listen { .. } | Self::AdminListen { .. } | Self::Shards(_) | Self::Disk(_)
        )
    }
}

fn other_port(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; choose another address or port with --listen",
        _ => "",
    }
}
