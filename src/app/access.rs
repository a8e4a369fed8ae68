//! What those may do of whom nothing is known, by the settings and where a listener is.

use super::StartError;
use crate::auth::Access;
use crate::config::Settings;
use std::net::SocketAddr;

/// What those may do of whom nothing is known: what is meant for everyone, or else, without authentication, all on this
/// machine alone.
pub(super) fn access(settings: &Settings, address: SocketAddr) -> Result<Access, StartError> {
    let listen = &settings.listen;
    let anonymous = [
        &listen.anonymous_subscribe,
        &listen.anonymous_publish,
        &listen.anonymous_request,
    ];
    if anonymous.iter().any(|patterns| !patterns.is_empty()) {
        return Ok(Access::Anonymous {
            subscribe: listen.anonymous_subscribe.clone(),
            publish: listen.anonymous_publish.clone(),
            request: listen.anonymous_request.clone(),
            admin: false,
        });
    }
    match (settings.auth.is_given(), address.ip().is_loopback()) {
        (true, _) => Ok(Access::Nothing),
        (false, true) => Ok(Access::Local),
        (false, false) => Err(StartError::Exposed(address)),
    }
}

/// The same on the listener for operators: what everyone may do, or, without authentication, all on this machine alone.
pub(super) fn admin_access(
    settings: &Settings,
    listen: Option<SocketAddr>,
    clients: &Access,
) -> Result<Access, StartError> {
    let (admin, guarded) = (&settings.admin, settings.auth.is_given());
    match listen {
        Some(address) if !guarded && address.ip().is_loopback() => Ok(Access::Local),
        Some(address) if !guarded && !admin.anonymous_admin => {
            Err(StartError::AdminExposed(address))
        }
        _ => Ok(clients.with_admin(admin.anonymous_admin)),
    }
}
