//! The settings that were given, by the command line and by the environment, beside the ones that there are.

use super::given::{Places, how};
use clap::{ArgMatches, Command};
use std::ffi::{OsStr, OsString};

/// What all variables of ours begin with.
const PREFIX: &str = "TIDINGS_";
/// Variables that begin so and are none of a running program's: what the tests and the build are told.
const OTHERS: [&str; 3] = ["TIDINGS_TEST_", "TIDINGS_COMMIT", "TIDINGS_BUILD"];
/// In how many characters a name is misspelt at most; a short one in fewer, one for each three that it has.
const MISSPELT: usize = 2;

/// What to say of variables that look like settings and are none; `None` where there are none such.
pub(super) fn unknown(
    command: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<String> {
    let known = known(command.clone());
    let mut unknown: Vec<String> = variables
        .map(|(name, value)| (lossy(&name), lossy(&value)))
        .filter(|(name, _)| name.starts_with(PREFIX) && !known.contains(name))
        .filter(|(name, _)| !OTHERS.iter().any(|other| name.starts_with(other)))
        .filter(|(name, value)| !is_of_kubernetes(name, value))
        .map(|(name, _)| name)
        .collect();
    unknown.sort_unstable();
    let told = unknown.iter().map(|name| {
        let shown = super::printable(name);
        match nearest(name, &known) {
            Some(meant) => format!("the variable {shown} is no setting; is {meant} meant?"),
            None => {
                format!("the variable {shown} is no setting; `tidings --help` has all of them")
            }
        }
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("\n"))
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// Whether Kubernetes sets it, in every pod beside a service whose name begins with `tidings`, unless
/// `enableServiceLinks` is off: `…_SERVICE_HOST`, `…_SERVICE_PORT`, and, as Docker's links were, `…_PORT` with a URL and
/// `…_PORT_8080_TCP`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let mut ports = name.split("_PORT_").skip(1);
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT") && is_url
        || ports.any(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

/// The variables of all commands.
fn known(mut command: Command) -> Vec<String> {
    command.build();
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    let variables = commands.flat_map(|one| one.get_arguments().filter_map(clap::Arg::get_env));
    variables
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The one that is spelt nearly so, or else the longest that this one begins with.
pub(super) fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let distance = |one: &&String| strsim::osa_distance(name, one);
    let begins = |one: &&String| {
        let rest = name.strip_prefix(one.as_str());
        rest.is_some_and(|rest| rest.starts_with(['_', '-']))
    };
    let own = name.strip_prefix(PREFIX).unwrap_or(name);
    let most = MISSPELT.min(own.len() / 3);
    let misspelt = known.iter().min_by_key(distance);
    misspelt
        .filter(|one| distance(one) <= most)
        .or_else(|| known.iter().filter(begins).max_by_key(|one| one.len()))
}

/// The settings of NATS that were given without NATS itself, as they were given.
pub(super) fn nats_without_server(
    command: &Command,
    matches: &ArgMatches,
    places: &Places,
) -> Vec<String> {
    let given = |option: &clap::Arg| {
        let how = how(option, matches, places)?;
        Some(match option.get_long().and_then(|name| places.get(name)) {
            Some(place) => format!("{} ({place})", option.get_long()?),
            None => how,
        })
    };
    let (mut server, mut others) = (None, Vec::new());
    for option in command.get_arguments() {
        match option.get_long() {
            Some("nats") => server = given(option),
            Some(name) if name.starts_with("nats-") => others.extend(given(option)),
            _ => {}
        }
    }
    match server {
        Some(_) => Vec::new(),
        None => others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn told(variables: &[(&str, &str)]) -> Option<String> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        unknown(&crate::cli::Cli::command(), variables)
    }

    #[test]
    fn variables_that_are_settings_or_of_others_are_fine() {
        for (name, value) in [
            ("PATH", "/bin"),
            ("TIDINGS_NATS_TLS", "true"),
            ("TIDINGS_URL", "http://h"),
            ("TIDINGS_TEST_NATS", "x"),
            ("TIDINGS_SERVICE_HOST", "10.0.0.1"),
            ("TIDINGS_SERVICE_PORT", "8080"),
            ("TIDINGS_SERVICE_PORT_HTTP", "8080"),
            ("TIDINGS_PORT", "tcp://10.0.0.1:8080"),
            ("TIDINGS_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("TIDINGS_PORT_8080_TCP_PROTO", "tcp"),
            ("TIDINGS_PORT_8080_TCP_PORT", "8080"),
            ("TIDINGS_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("TIDINGS_ADMIN_SERVICE_HOST", "10.0.0.2"),
            ("TIDINGS_ADMIN_PORT", "tcp://10.0.0.2:9090"),
            ("TIDINGS_ADMIN_PORT_9090_TCP_ADDR", "10.0.0.2"),
        ] {
            assert_eq!(told(&[(name, value)]), None, "{name}");
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_one_that_is_meant() {
        for (name, meant) in [
            ("TIDINGS_JWT_KEYFILE", "TIDINGS_JWT_KEY_FILE"),
            ("TIDINGS_NATS_URL", "TIDINGS_NATS"),
            ("TIDINGS_NATS_STREM", "TIDINGS_NATS_STREAM"),
            ("TIDINGS_LISTNE", "TIDINGS_LISTEN"),
            ("TIDINGS_HEARTBEATS", "TIDINGS_HEARTBEAT"),
        ] {
            let expected = format!("{name} is no setting; is {meant} meant?");
            let told = told(&[(name, "hunter2")]).expect("an error");
            assert!(told.ends_with(&expected), "{told}");
        }
        for name in ["TIDINGS_FOO", "TIDINGS_X"] {
            let told = told(&[(name, "1")]).expect("an error");
            assert!(told.ends_with("`tidings --help` has all of them"), "{told}");
        }
        let told = told(&[("TIDINGS_COLOUR", "hunter2"), ("TIDINGS_PORT", "8080")]);
        let told = told.expect("an error");
        let at = |name| told.find(name).expect(name);
        assert!(at("TIDINGS_COLOUR") < at("TIDINGS_PORT"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
