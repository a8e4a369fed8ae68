//! The settings that were given, by the command line and by the environment, beside the ones that there are.

use super::given::{Places, how};
use clap::{ArgMatches, Command};
use std::ffi::OsString;

/// What all variables of ours begin with.
const PREFIX: &str = "TIDINGS_";
/// Variables that others set: the tests, and Kubernetes for a service that is called `tidings`.
const OTHERS: [&str; 3] = ["TIDINGS_TEST_", "TIDINGS_SERVICE_", "TIDINGS_PORT_"];
/// In how many characters a name is misspelt at most.
const MISSPELT: usize = 2;

/// What to say of variables that look like settings and are none; `None` where there are none such.
pub(super) fn warning(
    command: Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<String> {
    let known = known(command);
    let mut unknown: Vec<String> = variables
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .filter(|name| !OTHERS.iter().any(|other| name.starts_with(other)))
        .collect();
    unknown.sort_unstable();
    let told: Vec<String> = unknown
        .iter()
        .map(|name| match nearest(name, &known) {
            Some(meant) => format!("{name} (is {meant} meant?)"),
            None => name.clone(),
        })
        .collect();
    (!told.is_empty()).then(|| {
        let told = told.join(", ");
        format!("there are no such settings, and these variables are ignored: {told}")
    })
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
    let misspelt = known.iter().min_by_key(distance);
    misspelt
        .filter(|one| distance(one) <= MISSPELT)
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

    fn told(names: &[&str]) -> Option<String> {
        let variables = names.iter().map(|name| (name.into(), "x".into()));
        warning(crate::cli::Cli::command(), variables)
    }

    #[test]
    fn variables_that_are_settings_or_of_others_are_fine() {
        let names = [
            "PATH",
            "TIDINGS_NATS_TLS",
            "TIDINGS_URL",
            "TIDINGS_TEST_NATS",
        ];
        assert_eq!(told(&names), None);
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_one_that_is_meant() {
        for (name, meant) in [
            ("TIDINGS_NATS_URL", "TIDINGS_NATS"),
            ("TIDINGS_NATS_STREM", "TIDINGS_NATS_STREAM"),
            ("TIDINGS_LISTNE", "TIDINGS_LISTEN"),
            ("TIDINGS_HEARTBEATS", "TIDINGS_HEARTBEAT"),
        ] {
            let expected = format!("{name} (is {meant} meant?)");
            let told = told(&[name]).expect("a warning");
            assert!(told.ends_with(&expected), "{told}");
        }
        let told = told(&["TIDINGS_COLOUR", "TIDINGS_ABC"]).expect("a warning");
        assert!(told.ends_with(": TIDINGS_ABC, TIDINGS_COLOUR"), "{told}");
    }
}
