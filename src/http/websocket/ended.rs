//! Why a WebSocket ends, and with which code (RFC 6455, section 7.4).

use crate::metrics::{CLIENT, REFUSED, STALLED};
use crate::wire::Closing;
use std::borrow::Cow;
use std::io;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why a WebSocket ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The client has closed it.
    #[error("the client has closed it")]
    ByClient,
    /// The connection is gone, or of no more use.
    #[error("it was lost: {0}")]
    Lost(Error),
    /// The client can't be served further.
    #[error("it was closed with {0}: {1}")]
    Failed(CloseCode, Cow<'static, str>),
    /// What the client has shown of himself holds no more.
    #[error("the token has expired")]
    Expired,
    /// The server ends it.
    #[error("the server has ended it: {0:?}")]
    Closing(Closing),
}

impl Ended {
    /// A binary message that does not begin with a line of JSON.
    pub(super) fn unsupported(reason: &'static str) -> Self {
        Self::Failed(CloseCode::Unsupported, reason.into())
    }

    /// A client that does what none may.
    pub(super) fn policy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(CloseCode::Policy, reason.into())
    }

    /// The code to close with, and the reason in words; nothing where there is nobody to tell.
    pub(super) fn frame(&self) -> Option<(CloseCode, String)> {
        match self {
            Self::ByClient | Self::Lost(_) => None,
            Self::Failed(code, reason) => Some((*code, reason.to_string())),
            Self::Expired => Some((CloseCode::Policy, self.to_string())),
            Self::Closing(reason) => {
                let code = match reason {
                    Closing::Drain => CloseCode::Restart,
                    Closing::Overload
                    | Closing::Starting
                    | Closing::Unavailable
                    | Closing::Limit => CloseCode::Again,
                    Closing::Token | Closing::Revoked => CloseCode::Policy,
                };
                Some((code, reason.as_str().to_owned()))
            }
        }
    }

    /// Why, as that is counted for streams of all kinds.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Lost(Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => STALLED,
            Self::ByClient | Self::Lost(_) => CLIENT,
            Self::Failed(..) => REFUSED,
            Self::Expired => Closing::Token.as_str(),
            Self::Closing(reason) => reason.as_str(),
        }
    }

    /// As it is counted: the code, or who has ended it.
    pub(super) fn label(&self) -> Cow<'static, str> {
        match (self, self.frame()) {
            (_, Some((code, _))) => u16::from(code).to_string().into(),
            (Self::ByClient, None) => "client".into(),
            (_, None) => "lost".into(),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let (code, reason) = match &error {
            Error::ConnectionClosed => return Self::ByClient,
            Error::Io(_)
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                return Self::Lost(error);
            }
            Error::Protocol(error) => (CloseCode::Protocol, error.to_string()),
            Error::Utf8(_) => (CloseCode::Invalid, "a text is UTF-8".to_owned()),
            Error::Capacity(error) => (CloseCode::Size, error.to_string()),
            error => (CloseCode::Error, error.to_string()),
        };
        Self::Failed(code, reason.into())
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}
