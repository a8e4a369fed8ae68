//! The settings that a server is given: on the command line, else as variables, else in a file.

use super::file::{self, Place};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Error};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The commands that take the settings of a server, beside none.
const OF_SERVER: [&str; 3] = ["serve", "config", "doctor"];

/// Where in a file settings are that count, by the options' long names.
pub(super) type Places = HashMap<String, Place>;

/// Reads the command line, the variables, and the file that they name.
///
/// What counts of the file is read as if it stood on the command line, before what does: so one parser knows what each
/// option takes, and which go together.
pub(super) fn read(
    command: &mut Command,
    arguments: &[OsString],
) -> Result<(ArgMatches, Places), Error> {
    let first = look(command, arguments).map_err(|error| seemly(error, command, arguments))?;
    let path = server(&first).and_then(|(_, given)| given.get_one::<PathBuf>("config"));
    let (mut all, mut places) = (arguments.to_vec(), Places::new());
    if let (Some(path), Some((at, given))) = (path, server(&first)) {
        let settings = file::read(path).map_err(|text| super::wrong(&text))?;
        let mut from_file = Vec::new();
        for setting in settings {
            if !is_given(command, given, &setting.name) {
                from_file.extend(setting.arguments.iter().map(OsString::from));
                places.insert(setting.name, setting.place);
            }
        }
        let at = at.min(all.len());
        all.splice(at..at, from_file);
    }
    match command.try_get_matches_from_mut(all) {
        Ok(matches) => Ok((matches, places)),
        Err(error) => Err(with_places(seemly(error, command, arguments), &places)),
    }
}

/// A first look, in which what the file may have is missing still.
fn look(command: &Command, arguments: &[OsString]) -> Result<ArgMatches, Error> {
    match command.clone().try_get_matches_from(arguments) {
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => command
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(arguments),
        looked => looked,
    }
}

/// Where the options of a server begin among the arguments, and what is given of them.
fn server(matches: &ArgMatches) -> Option<(usize, &ArgMatches)> {
    match matches.subcommand() {
        None => Some((1, matches)),
        Some((name, matches)) => OF_SERVER.contains(&name).then_some((2, matches)),
    }
}

/// The command whose options are the settings of a server, and what is given of them.
pub(super) fn of_server<'a>(
    command: &'a Command,
    matches: &'a ArgMatches,
) -> Option<(&'a Command, &'a ArgMatches)> {
    let (_, given) = server(matches)?;
    let command = match matches.subcommand_name() {
        None => command,
        Some(name) => command.find_subcommand(name)?,
    };
    Some((command, given))
}

fn is_given(command: &Command, matches: &ArgMatches, name: &str) -> bool {
    let option = command.get_opts().find(|one| one.get_long() == Some(name));
    let source = option.and_then(|option| matches.value_source(option.get_id().as_str()));
    matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// How an option was given: as `--name`, as a variable or as a line of a file; `None` where it was not.
pub(super) fn how(option: &Arg, matches: &ArgMatches, places: &Places) -> Option<String> {
    let name = option.get_long()?;
    match matches.value_source(option.get_id().as_str())? {
        ValueSource::CommandLine => Some(match places.get(name) {
            Some(place) => place.to_string(),
            None => format!("--{name}"),
        }),
        ValueSource::EnvVariable => Some(option.get_env()?.to_string_lossy().into_owned()),
        _ => None,
    }
}

/// Takes the value of a secret out of an error, and says which variable it is about.
fn seemly(mut error: Error, command: &Command, arguments: &[OsString]) -> Error {
    let Some(ContextValue::String(about)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let name = about
        .split([' ', '='])
        .next()
        .unwrap_or_default()
        .to_owned();
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let is_it = |option: &&Arg| {
        option
            .get_long()
            .is_some_and(|long| name == format!("--{long}"))
    };
    let options: Vec<&Arg> = commands
        .flat_map(|one| one.get_opts().filter(is_it))
        .collect();
    // A URL may have a password before its `@`.
    let value = error.get(ContextKind::InvalidValue);
    let is_user = matches!(value, Some(ContextValue::String(value)) if value.contains('@'));
    if is_user || options.iter().any(|option| option.is_hide_env_values_set()) {
        error.insert(
            ContextKind::InvalidValue,
            ContextValue::String("…".to_owned()),
        );
    }
    let variable = options.iter().find_map(|option| option.get_env());
    let is_there = variable.is_some_and(|variable| std::env::var_os(variable).is_some());
    let is_typed = arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument.split('=').next() == Some(name.as_str())
    });
    if let Some(variable) = variable.filter(|_| is_there && !is_typed) {
        let text = format!("{name} is given as {}", variable.to_string_lossy());
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![text.into()]),
        );
    }
    error
}

/// Says which of the options that an error names are in the file.
fn with_places(mut error: Error, places: &Places) -> Error {
    let named: Vec<String> = error
        .context()
        .flat_map(|(kind, value)| match (kind, value) {
            (ContextKind::InvalidArg | ContextKind::PriorArg, ContextValue::String(one)) => {
                vec![one.clone()]
            }
            (ContextKind::InvalidArg | ContextKind::PriorArg, ContextValue::Strings(all)) => {
                all.clone()
            }
            _ => Vec::new(),
        })
        .collect();
    let told = named.iter().filter_map(|named| {
        let option = named.split([' ', '=']).next()?;
        let place = places.get(option.strip_prefix("--")?)?;
        Some(format!("{option} is given in {place}").into())
    });
    let told: Vec<_> = told.collect();
    if !told.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(told));
    }
    error
}
