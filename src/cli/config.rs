//! `tidings config`.

use crate::config::without_user;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// URLs that may have a user and a password.
const URLS: [&str; 2] = ["nats", "jwks-url"];

/// The settings of a server, one a line: what each is, and where it comes from. Those that are secret are not shown.
pub(super) fn text(command: &Command, matches: &ArgMatches) -> String {
    let lines = command.get_arguments().filter_map(|option| {
        let name = option.get_long()?;
        let (value, source) = match matches.value_source(option.get_id().as_str()) {
            None => ("".to_owned(), "not given".to_owned()),
            Some(source) => (shown(option, matches), told(option, source)),
        };
        Some(format!(
            "{:26} {value}{}({source})\n",
            format!("--{name}"),
            gap(&value)
        ))
    });
    lines.collect()
}

fn gap(value: &str) -> &'static str {
    if value.is_empty() { "" } else { "  " }
}

fn told(option: &Arg, source: ValueSource) -> String {
    match (source, option.get_env()) {
        (ValueSource::CommandLine, _) => "command line".to_owned(),
        (ValueSource::EnvVariable, Some(name)) => name.to_string_lossy().into_owned(),
        _ => "default".to_owned(),
    }
}

fn shown(option: &Arg, matches: &ArgMatches) -> String {
    if !option.get_action().takes_values() {
        return matches.get_flag(option.get_id().as_str()).to_string();
    }
    let values = matches.get_raw(option.get_id().as_str());
    let values = values.into_iter().flatten().map(|value| {
        let value = value.to_string_lossy();
        match option.get_long().is_some_and(|name| URLS.contains(&name)) {
            true => without_user(&value).to_string(),
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
        text(command, matches)
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
            "--nats-token",
            SECRET,
            "--jwks-url",
            &https,
        ]);
        assert!(!text.contains(SECRET), "{text}");
        assert!(
            line(&text, "--jwt-key").contains('…') && line(&text, "--nats").contains("host:4222"),
            "{text}"
        );
    }

    #[test]
    fn an_option_whose_name_says_that_it_is_secret_is_one() {
        let command = Cli::command();
        for option in command.get_opts() {
            let name = option.get_long().expect("a long name");
            let says = ["password", "token", "secret", "jwt-key", "api-key"].contains(&name)
                || name.ends_with("-password")
                || name.ends_with("-token");
            assert!(!says || option.is_hide_env_values_set(), "--{name}");
        }
    }
}
