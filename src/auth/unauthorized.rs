//! Why credentials are refused.

use super::grants::InvalidClaim;
use super::jwt::MAX_TOKEN_BYTES;
use std::sync::Arc;

/// What those are told whose subject was revoked.
pub(crate) const REVOKED: &str = "the credentials were revoked; with a token that was issued since then, or with an API key once the revocation has ended, this may be done again";

/// Credentials that show nothing of who calls. Says what was wrong, and never quotes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// None, where nothing is meant for everyone.
    #[error("this takes credentials: a token or an API key, as `Authorization: Bearer …`{}", .0.beside())]
    Missing(NotTaken),
    /// Too long to be looked at.
    #[error("the credentials have {0} bytes; at most {MAX_TOKEN_BYTES} are taken")]
    TooLong(usize),
    /// No API key that is known, and not in the form of a token.
    #[error("the credentials are no API key that is known{}", if *.0 { ", and no token: one has three parts, joined by dots" } else { "" })]
    Unknown(bool),
    /// A part of a token that can't be read.
    #[error("the token's {0}")]
    Malformed(&'static str),
    /// An algorithm that is not allowed, or that the token's key is not for.
    #[error("the token's `alg` is not allowed for its key")]
    Algorithm,
    /// No key has its `kid`.
    #[error("the token's `kid` names no key that is known")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the token's signature does not match any key that it may be signed with")]
    Signature,
    /// A claim that has to be there.
    #[error("the token has no claim `{0}`")]
    NoClaim(&'static str),
    /// A claim of the wrong kind.
    #[error("the token's claim `{0}` is not of the right kind")]
    WrongKind(&'static str),
    /// A time so far ahead that it can't be in seconds.
    #[error(
        "the token's claim `{0}` is more than 100 years ahead: it is in seconds since 1970 (RFC 7519, section 2), and this looks like milliseconds"
    )]
    NotSeconds(&'static str),
    /// Past its `exp`, by so many seconds.
    #[error("the token has expired, {0} s ago")]
    Expired(u64),
    /// Before its `nbf`, by so many seconds.
    #[error("the token is not valid before {0} s from now")]
    Early(u64),
    /// Issued in so many seconds, by an issuer whose clock is wrong, or ours: it would outlive a revocation.
    #[error(
        "the token's `iat` is {0} s from now: the clock of its issuer or of this server is wrong"
    )]
    Issued(u64),
    /// Another issuer's.
    #[error("the token's claim `iss` is not an issuer whose tokens are taken here (--jwt-issuer)")]
    Issuer,
    /// Meant for others.
    #[error("the token's claim `aud` does not name this service (--jwt-audience)")]
    Audience,
    /// Issued before this subject was revoked.
    #[error("{REVOKED}")]
    Revoked(Arc<str>),
    /// Its own permissions can't be used.
    #[error("the token can't be used: {0}")]
    Permissions(#[from] InvalidClaim),
    /// The issuer's keys could not be fetched yet: no fault of the caller's, who may come back.
    #[error("the keys of the tokens' issuer can't be fetched now; come back later")]
    Unavailable,
    /// No key has its `kid`, and they could not be fetched anew since it was first seen.
    #[error(
        "the token's `kid` names no key that is known yet, and the keys of the tokens' issuer are fetched again in a moment; come back later"
    )]
    UnknownYet,
}

/// What somebody has shown in the place of credentials, where it is not taken for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Nothing at all.
    #[error("nothing was shown")]
    Nothing,
    /// A header `Authorization` of another scheme, or of none.
    #[error(
        "the header `Authorization` was there, and was not understood: it is the word `Bearer`, a space, and the token or API key"
    )]
    Authorization,
    /// A header `X-Api-Key`.
    #[error(
        "the header `X-Api-Key` was there, and is not read: API keys come as `Authorization: Bearer <key>` too"
    )]
    XApiKey,
    /// A token in the URL.
    #[error(
        "`access_token` was in the URL, and is not read there: --jwt-query switches tokens in the URL on, for GET alone; `Authorization: Bearer <token>` is always read"
    )]
    Url,
}

impl NotTaken {
    /// As what is added to a text.
    pub(super) fn beside(self) -> String {
        match self {
            Self::Nothing => String::new(),
            shown => format!("; {shown}"),
        }
    }
}

impl Unauthorized {
    /// The reason in a word, as it is counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::TooLong(_) | Self::Malformed(_) => "malformed",
            Self::Unknown(_) => "unknown",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "key",
            Self::Signature => "signature",
            Self::NoClaim(_) | Self::WrongKind(_) | Self::NotSeconds(_) | Self::Permissions(_) => {
                "claims"
            }
            Self::Expired(_) => "expired",
            Self::Early(_) | Self::Issued(_) => "early",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Revoked(_) => "revoked",
            Self::Unavailable | Self::UnknownYet => "unavailable",
        }
    }

    /// Whose credentials they are, where that was found out.
    pub fn subject(&self) -> Option<Arc<str>> {
        match self {
            Self::Revoked(subject) => Some(subject.clone()),
            _ => None,
        }
    }

    /// Whether the same credentials may be taken a little later: then the answer is 503 and not 401.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable | Self::UnknownYet)
    }
}
