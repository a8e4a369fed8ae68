//! What someone may do, and how it is written down.

#[cfg(test)]
mod tests;

use super::claims::Claims;
use super::overlooked::{Overlooked, Skipped};
use super::template::{InvalidTemplate, Template};
use crate::event::{Feed, Pattern};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// What someone may do; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// What may be read.
    pub subscribe: Vec<Pattern>,
    /// What may be published to.
    pub publish: Vec<Pattern>,
    /// What may be asked of those who answer requests.
    pub request: Vec<Pattern>,
    /// Whether the operators' pages are open.
    pub admin: bool,
    /// What was meant to be more of this.
    pub overlooked: Overlooked,
}

impl Grants {
    /// Whether the whole of a pattern may be read: by one grant, as all that the patterns of several match together
    /// is no pattern's but for odd cases.
    pub fn may_subscribe(&self, asked: &Pattern) -> bool {
        self.subscribe.iter().any(|grant| grant.covers(asked))
    }

    /// Whether a feed may be published to.
    pub fn may_publish(&self, feed: &Feed) -> bool {
        self.publish.iter().any(|grant| grant.matches(feed))
    }

    /// Whether this may be requested.
    pub fn may_request(&self, name: &Feed) -> bool {
        self.request.iter().any(|grant| grant.matches(name))
    }
}

/// Grants as they are written down, with claims in them.
///
/// As text: `subscribe=users.{sub}.>,news.*;publish=chat.{sub};request=rpc.>;admin`, in any order, each left out
/// where it is empty. A pattern with a comma or a semicolon can't be written so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What may be read.
    pub subscribe: Vec<Template>,
    /// What may be published to.
    pub publish: Vec<Template>,
    /// What may be requested.
    pub request: Vec<Template>,
    /// Whether the operators' pages are open.
    pub admin: bool,
}

/// Why a text is no [`Permissions`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPermissions {
    /// No part at all.
    #[error("nothing is granted; write for example `subscribe=orders.>;publish=chat.*`")]
    Nothing,
    /// A part that is none of those there are.
    #[error("`{}` is no permission; there are `subscribe=…`, `publish=…`, `request=…` and `admin`, joined by `;`", .0.escape_debug())]
    Unknown(String),
    /// A pattern that is none.
    #[error("`{}` is no pattern: {error}", text.escape_debug())]
    Pattern {
        /// The text.
        text: String,
        /// Why not.
        error: InvalidTemplate,
    },
}

/// Why a token's own permissions can't be used; says where, and quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaim {
    /// The claim is no object.
    #[error("its claim `tidings` is no object")]
    NoObject,
    /// A member is no list of texts.
    #[error("its claim `tidings.{0}` is no list of patterns")]
    NoList(&'static str),
    /// A text is no pattern.
    #[error("its claim `tidings.{0}` has a text that is no pattern, at index {1}")]
    NoPattern(&'static str, usize),
    /// `admin` is no bool.
    #[error("its claim `tidings.admin` is neither true nor false")]
    NoBool,
}

impl Permissions {
    /// Adds what these permissions grant to one with these claims. What needs a claim that is not there grants nothing.
    pub fn grant(&self, claims: &Claims, grants: &mut Grants) {
        for (permission, templates, patterns) in [
            ("subscribe", &self.subscribe, &mut grants.subscribe),
            ("publish", &self.publish, &mut grants.publish),
            ("request", &self.request, &mut grants.request),
        ] {
            for template in templates {
                match template.pattern(claims) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(reason) => grants.overlooked.skip(|| Skipped {
                        permission,
                        grant: template.to_string(),
                        reason,
                    }),
                }
            }
        }
        grants.admin |= self.admin;
    }

    /// Whether nothing at all is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names in such a claim that stand for nothing.
    pub(super) fn unknown(claim: &Value) -> impl Iterator<Item = &String> {
        let names = claim.as_object().into_iter().flat_map(Map::keys);
        names.filter(|name| !matches!(name.as_str(), "subscribe" | "publish" | "request" | "admin"))
    }

    /// Those of a token's claim `tidings`; what is not known in it is left alone (RFC 7519, section 4).
    pub(super) fn of_claim(claim: &Value) -> Result<Self, InvalidClaim> {
        let claim = claim.as_object().ok_or(InvalidClaim::NoObject)?;
        let list = |name| match claim.get(name) {
            Some(list) => templates(name, list),
            None => Ok(Vec::new()),
        };
        let admin = claim.get("admin").map_or(Some(false), Value::as_bool);
        Ok(Self {
            subscribe: list("subscribe")?,
            publish: list("publish")?,
            request: list("request")?,
            admin: admin.ok_or(InvalidClaim::NoBool)?,
        })
    }
}

fn templates(name: &'static str, list: &Value) -> Result<Vec<Template>, InvalidClaim> {
    let list = list.as_array().ok_or(InvalidClaim::NoList(name))?;
    let read = |(index, one): (usize, &Value)| {
        let text = one.as_str().ok_or(InvalidClaim::NoList(name))?;
        text.parse()
            .map_err(|_| InvalidClaim::NoPattern(name, index))
    };
    list.iter().enumerate().map(read).collect()
}

impl FromStr for Permissions {
    type Err = InvalidPermissions;

    fn from_str(text: &str) -> Result<Self, InvalidPermissions> {
        let mut permissions = Self::default();
        let parts = text.split(';').map(str::trim);
        for part in parts.filter(|part| !part.is_empty()) {
            let unknown = || InvalidPermissions::Unknown(part.to_owned());
            let (name, patterns) = match part.split_once('=') {
                Some((name, patterns)) => (name.trim(), patterns),
                None if part == "admin" => {
                    permissions.admin = true;
                    continue;
                }
                None => return Err(unknown()),
            };
            let list = match name {
                "subscribe" => &mut permissions.subscribe,
                "publish" => &mut permissions.publish,
                "request" => &mut permissions.request,
                _ => return Err(unknown()),
            };
            for pattern in patterns.split(',') {
                list.push(template(pattern.trim())?);
            }
        }
        match permissions.is_empty() {
            true => Err(InvalidPermissions::Nothing),
            false => Ok(permissions),
        }
    }
}

fn template(text: &str) -> Result<Template, InvalidPermissions> {
    text.parse().map_err(|error| InvalidPermissions::Pattern {
        text: text.to_owned(),
        error,
    })
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |templates: &[Template]| -> String {
            let all: Vec<String> = templates.iter().map(Template::to_string).collect();
            all.join(",")
        };
        let lists = [
            ("subscribe", &self.subscribe),
            ("publish", &self.publish),
            ("request", &self.request),
        ];
        let filled = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let parts = filled.map(|(name, list)| format!("{name}={}", joined(list)));
        let parts: Vec<String> = parts
            .chain(self.admin.then(|| "admin".to_owned()))
            .collect();
        f.write_str(&parts.join(";"))
    }
}

/// What those are granted who have a claim with a value, as in `role=admin:subscribe=orders.>;publish=orders.*`.
///
/// The name ends at the first `=`, and the value where permissions begin after a `:`. So a value may have colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimGrant {
    /// The claim's name or path, as [`Claims::get`] has it.
    pub claim: String,
    /// Its value, as [`Claims::has`] has it.
    pub value: String,
    /// What they may do.
    pub permissions: Permissions,
}

/// Why a text is no [`ClaimGrant`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaimGrant {
    /// Not in that form.
    #[error(
        "write `CLAIM=VALUE:PERMISSIONS`, as in `role=admin:subscribe=orders.>;publish=orders.*`"
    )]
    Form,
    /// The permissions are wrong.
    #[error(transparent)]
    Permissions(#[from] InvalidPermissions),
}

impl FromStr for ClaimGrant {
    type Err = InvalidClaimGrant;

    fn from_str(text: &str) -> Result<Self, InvalidClaimGrant> {
        let (claim, rest) = text.split_once('=').ok_or(InvalidClaimGrant::Form)?;
        let (value, permissions) = rest
            .match_indices(':')
            .map(|(at, _)| (&rest[..at], rest[at + 1..].trim()))
            .find(|(_, after)| begins_permissions(after))
            .or_else(|| {
                rest.rsplit_once(':')
                    .filter(|(_, after)| after.contains('='))
            })
            .ok_or(InvalidClaimGrant::Form)?;
        let (claim, value) = (claim.trim(), value.trim());
        if claim.is_empty() || value.is_empty() {
            return Err(InvalidClaimGrant::Form);
        }
        Ok(Self {
            claim: claim.to_owned(),
            value: value.to_owned(),
            permissions: permissions.parse()?,
        })
    }
}

fn begins_permissions(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default().trim();
    let name = first.split_once('=').map(|(name, _)| name.trim());
    matches!(name, Some("subscribe" | "publish" | "request")) || first == "admin"
}
