//! `tidings config`: the settings of a server, what each is, and where it comes from.

use super::Serve;
use super::given::{Places, how};
use crate::config::shown_url;
use clap::{Arg, ArgMatches, Args, Command};
use std::ffi::OsString;
use std::fmt;

/// URLs that may have a user and a password.
const URLS: [&str; 2] = ["nats", "jwks-url"];

/// What a setting is, and where it comes from.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The option's long name.
    pub(super) name: String,
    /// As it was given; empty where it was not.
    values: Vec<OsString>,
    shown: String,
    source: String,
    is_secret: bool,
}

/// Without its values, which may be secret.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line())
    }
}

/// The settings of a server, each with what may be shown of it.
pub(super) fn told(command: &Command, matches: &ArgMatches, places: &Places) -> Vec<Told> {
    let of_server = Serve::augment_args(Command::new("tidings"));
    let options = command.get_arguments().filter_map(|option| {
        let name = option.get_long()?;
        // Not those of the command itself.
        of_server
            .get_opts()
            .find(|one| one.get_long() == Some(name))?;
        let id = option.get_id().as_str();
        let source = matches.value_source(id);
        let source = source.map(|_| match how(option, matches, places) {
            Some(how) if how.starts_with("--") => "command line".to_owned(),
            Some(how) => how,
            None => "default".to_owned(),
        });
        let values: Vec<OsString> = match (&source, option.get_action().takes_values()) {
            (None, _) => Vec::new(),
            (Some(_), true) => matches
                .get_raw(id)
                .into_iter()
                .flatten()
                .map(OsString::from)
                .collect(),
            (Some(_), false) => vec![matches.get_flag(id).to_string().into()],
        };
        Some(Told {
            name: name.to_owned(),
            shown: shown(option, &values),
            values,
            is_secret: option.is_hide_env_values_set(),
            source: source.unwrap_or_else(|| "not given".to_owned()),
        })
    });
    options.collect()
}

/// The names of those that are another now.
pub(super) fn changed<'a>(before: &[Told], now: &'a [Told]) -> Vec<&'a str> {
    // They are the same options, in the same order.
    let pairs = before.iter().zip(now);
    let changed = pairs.filter(|(before, now)| before.values != now.values);
    changed.map(|(_, now)| &*now.name).collect()
}

/// An error, and where those of the options that it names were given that are none of the command line.
pub(super) fn with_places(error: &impl fmt::Display, told: &[Told]) -> String {
    let text = error.to_string();
    let is_sign = |sign: char| !sign.is_ascii_alphanumeric() && sign != '-';
    let is_named = |one: &&Told| {
        let mut words = text.split(is_sign);
        words.any(|word| word.strip_prefix("--") == Some(&one.name))
    };
    let places = told.iter().filter(is_named).filter_map(|one| {
        let place = one.elsewhere()?;
        Some(format!("--{}: {place}", one.name))
    });
    match places.collect::<Vec<_>>().join(", ") {
        places if places.is_empty() => text,
        places => format!("{text} ({places})"),
    }
}

impl Told {
    /// As it was given.
    pub(super) fn values(&self) -> impl Iterator<Item = &OsString> {
        self.values.iter()
    }

    /// Whether it is secret, and in the file of settings.
    pub(super) fn is_secret_in_file(&self) -> bool {
        self.is_secret && self.source.contains(':')
    }

    /// Whether it is given anywhere.
    pub(super) fn is_given(&self) -> bool {
        !matches!(self.source.as_str(), "default" | "not given")
    }

    /// Where it was given, unless that was the command line or nowhere.
    fn elsewhere(&self) -> Option<&str> {
        (self.is_given() && self.source != "command line").then_some(&*self.source)
    }

    /// A line of `tidings config`.
    pub(super) fn line(&self) -> String {
        let Self {
            name,
            shown,
            source,
            ..
        } = self;
        let gap = if shown.is_empty() { "" } else { "  " };
        format!("{:26} {shown}{gap}({source})\n", format!("--{name}"))
    }
}

fn shown(option: &Arg, values: &[OsString]) -> String {
    let values = values.iter().map(|value| {
        let value = value.to_string_lossy();
        match option.get_long().is_some_and(|name| URLS.contains(&name)) {
            true => super::printable(&shown_url(&value)).into_owned(),
            false if option.is_hide_env_values_set() => "…".to_owned(),
            false => super::printable(&value).into_owned(),
        }
    });
    values.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    const SECRET: &str = "hunter2hunter2hunter2hunter2hunter2";

    fn text_of(arguments: &[&str]) -> String {
        let mut command = Cli::command();
        let all = ["tidings", "config"].iter().chain(arguments);
        let matches = command.try_get_matches_from_mut(all).expect("settings");
        let (name, matches) = matches.subcommand().expect("a command");
        let command = command.find_subcommand(name).expect("a command");
        let told = told(command, matches, &Places::new());
        assert!(!format!("{told:?}").contains(SECRET));
        told.iter().map(Told::line).collect()
    }

    fn line<'a>(text: &'a str, name: &str) -> &'a str {
        let found = text
            .lines()
            .find(|line| line.split(' ').next() == Some(name));
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    #[test]
    fn each_setting_is_there_with_its_source() {
        let text = text_of(&[
            "--grant-subscribe",
            "a.{sub},b",
            "--listen",
            "127.0.0.1:1",
            "--jwt-query",
        ]);
        let shown = |name| {
            line(&text, name)
                .split_once(' ')
                .expect("two parts")
                .1
                .trim()
        };
        assert_eq!(shown("--listen"), "127.0.0.1:1  (command line)");
        assert_eq!(shown("--grant-subscribe"), "a.{sub}, b  (command line)");
        assert_eq!(shown("--jwt-query"), "true  (command line)");
        assert_eq!(shown("--heartbeat"), "15  (default)");
        assert_eq!(shown("--jwt-cookie"), "(not given)");
    }

    #[test]
    fn no_secret_is_shown() {
        let url = format!("nats://user:{SECRET}@host:4222");
        let https = format!("https://user:{SECRET}@host/keys");
        let text = text_of(&[
            "--jwt-key",
            SECRET,
            "--api-key",
            SECRET,
            "--nats",
            &url,
            "--nats-user",
            "u",
            "--nats-password",
            SECRET,
            "--jwks-url",
            &https,
        ]);
        let token = text_of(&["--nats", "nats://host", "--nats-token", SECRET]);
        assert!(!token.contains(SECRET), "{token}");
        assert!(!text.contains(SECRET), "{text}");
        assert!(
            line(&text, "--jwt-key").contains('…') && line(&text, "--nats").contains("host:4222"),
            "{text}"
        );
    }

    #[test]
    fn an_option_whose_name_says_that_it_is_secret_is_one_and_may_be_a_file() {
        let mut root = Cli::command();
        root.build();
        for command in std::iter::once(&root).chain(root.get_subcommands()) {
            for option in command.get_opts() {
                let name = option.get_long().expect("a long name");
                let says = ["password", "token", "secret", "jwt-key"].contains(&name)
                    || name.ends_with("-password")
                    || name.ends_with("-token");
                if says {
                    assert!(option.is_hide_env_values_set(), "--{name}");
                    let file = format!("{name}-file");
                    let has_file = command.get_opts().any(|one| one.get_long() == Some(&file));
                    assert!(has_file, "--{file}");
                }
            }
        }
    }
}
