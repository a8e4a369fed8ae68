//! Settings of what operators see.

use std::net::SocketAddr;

/// What is for operators, and where.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Operators")]
pub struct AdminSettings {
    /// A listener of their own for metrics, probes, the console and /admin, which --listen then does not serve. One
    /// that is not loopback needs authentication, or --anonymous-admin.
    #[arg(
        long,
        env = "TIDINGS_ADMIN_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = super::parse_address
    )]
    pub admin_listen: Option<SocketAddr>,

    /// Opens /admin to everyone who reaches the listener of --admin-listen: only where operators alone do.
    #[arg(long, env = "TIDINGS_ANONYMOUS_ADMIN", requires = "admin_listen")]
    pub anonymous_admin: bool,

    /// Whether there is a console page at `/`: on or off.
    #[arg(
        long,
        env = "TIDINGS_CONSOLE",
        value_name = "ON|OFF",
        default_value = "on",
        action = clap::ArgAction::Set,
        value_parser = parse_switch
    )]
    pub console: bool,
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it is \"on\" or \"off\"".to_owned()),
    }
}
