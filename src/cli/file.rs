//! A file of settings (TOML 1.0): its keys are the long names of the server's options.

use super::Serve;
use super::environment::nearest;
use crate::auth::secret::read_file;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args, Command};
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml_edit::{Document, Item, Value};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: Arc<Path>,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A setting, and where it is.
pub(super) struct Setting {
    /// The option's long name.
    pub(super) name: String,
    pub(super) place: Place,
    /// What the command line would have in its place; nothing for a switch that is off.
    pub(super) arguments: Vec<String>,
}

/// The settings of a file, in its order. An error says in which line it is, and what would be right.
pub(super) fn read(path: &Path) -> Result<Vec<Setting>, String> {
    let bytes = read_file(path).map_err(|error| error.to_string())?;
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{} is no text in UTF-8", path.display()))?;
    let source = Source {
        file: path.into(),
        text: &text,
        options: options(),
    };
    source.settings()
}

/// The options that a file may have, without the variables.
fn options() -> Command {
    let command = Serve::augment_args(Command::new("tidings"));
    command.mut_args(|option| option.env(Resettable::Reset))
}

struct Source<'a> {
    file: Arc<Path>,
    text: &'a str,
    options: Command,
}

impl Source<'_> {
    fn settings(&self) -> Result<Vec<Setting>, String> {
        let document = Document::parse(self.text).map_err(|error| {
            // Its own text quotes the line, in which there may be a secret.
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let key = error.span().and_then(|span| self.text.get(span));
            let key = key.filter(|key| message == "duplicate key" && self.option(key).is_some());
            let place = self.place(error.span());
            match key {
                Some(name) => format!("{place}: {name} is there a second time"),
                None => format!("{place}: {message}"),
            }
        })?;
        let table = document.as_table();
        let settings = table.iter().map(|(name, item)| {
            let key = table.key(name).and_then(|key| key.span());
            self.setting(name, self.place(key), item)
        });
        settings.collect()
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        let start = span.map_or(0, |span| span.start).min(self.text.len());
        let before = &self.text.as_bytes()[..start];
        Place {
            file: self.file.clone(),
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
        }
    }

    fn setting(&self, name: &str, place: Place, item: &Item) -> Result<Setting, String> {
        let option = self.option(name);
        let option = option.ok_or_else(|| format!("{place}: {}", self.unknown(name, item)))?;
        let value = item.as_value().ok_or_else(|| {
            format!("{place}: {name} is a table; keys are the options' long names, without tables")
        })?;
        let arguments = self.arguments(option, name, value).map_err(|wrong| {
            let place = self.place(wrong.span);
            // What is secret is not shown, nor what may have a secret in it, as before the `@` of a URL.
            let is_secret = |value: &String| option.is_hide_env_values_set() || value.contains('@');
            let value = match wrong.value.filter(|value| !is_secret(value)) {
                Some(value) => format!("{name} = {}", value.trim()),
                None => name.to_owned(),
            };
            format!("{place}: {value}: {}", wrong.reason)
        })?;
        Ok(Setting {
            name: name.to_owned(),
            place,
            arguments,
        })
    }

    /// The option of this name. A file does not name another one.
    fn option(&self, name: &str) -> Option<&Arg> {
        let mut options = self.options.get_opts();
        options.find(|one| one.get_long() == Some(name) && name != "config")
    }

    /// What is like no setting is not quoted: it may be a secret in the wrong place.
    fn unknown(&self, name: &str, item: &Item) -> String {
        let known = self.options.get_opts().filter_map(Arg::get_long);
        let known: Vec<String> = known.map(str::to_owned).collect();
        let table = match item.is_table_like() {
            true => "; keys are the options' long names, without tables",
            false => "",
        };
        let dashed = name.to_ascii_lowercase().replace('_', "-");
        let dashed = dashed.strip_prefix("tidings-").unwrap_or(&dashed);
        match nearest(dashed, &known) {
            _ if name == "config" => "config is not for the file, which it names".to_owned(),
            Some(meant) if !item.is_table_like() => {
                format!("{} is no setting; is {meant} meant?", name.escape_debug())
            }
            _ => format!("the key is no setting{table}; `tidings --help` has all of them"),
        }
    }

    fn arguments(&self, option: &Arg, name: &str, value: &Value) -> Result<Vec<String>, Wrong> {
        let wrong = |value: &Value, reason: String| Wrong {
            span: value.span(),
            value: value.span().map(|span| self.text[span].to_owned()),
            reason,
        };
        if !option.get_action().takes_values() {
            return match value.as_bool() {
                Some(true) => Ok(vec![format!("--{name}")]),
                Some(false) => Ok(Vec::new()),
                None => Err(wrong(value, "it is true or false".to_owned())),
            };
        }
        let values: Vec<&Value> = match (value, option.get_action()) {
            (Value::Array(all), ArgAction::Append) => all.iter().collect(),
            (Value::Array(_), _) => {
                return Err(wrong(value, "it has one value, and no list".to_owned()));
            }
            (one, _) => vec![one],
        };
        let arguments = values.into_iter().map(|value| {
            let text = text(value);
            let written = || value.span().map(|span| self.text[span].to_owned());
            let shown = text.clone().or_else(written).unwrap_or_default();
            let argument = format!("--{name}={shown}");
            match (self.refusal(&argument), text) {
                (Some(reason), _) => Err(wrong(value, reason)),
                (None, Some(_)) => Ok(argument),
                (None, None) => Err(wrong(
                    value,
                    "it is a text in quotes, or a number".to_owned(),
                )),
            }
        });
        arguments.collect()
    }

    /// Why an option does not take its value.
    fn refusal(&self, argument: &str) -> Option<String> {
        let parsed = self
            .options
            .clone()
            .try_get_matches_from(["tidings", argument]);
        let error = parsed.err()?;
        match (error.source(), error.get(ContextKind::ValidValue)) {
            (Some(reason), _) => Some(reason.to_string()),
            (None, Some(ContextValue::Strings(valid))) => {
                Some(format!("there are {}", valid.join(", ")))
            }
            // That it needs another option is nothing about its value.
            _ => None,
        }
    }
}

/// A value that can't be right.
struct Wrong {
    span: Option<Range<usize>>,
    /// As it is written.
    value: Option<String>,
    reason: String,
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Setting>, String> {
        let source = Source {
            file: Path::new("t.toml").into(),
            text,
            options: options(),
        };
        source.settings()
    }

    #[test]
    fn each_kind_of_value_becomes_what_the_command_line_has() {
        let text = "# comment\nlisten = \"127.0.0.1:1\"\nnats-tls = true\njwt-query = false\n\
            max-streams = 5_000\nnats = [\"nats://a\", \"nats://b\"]\nallow-origin = \"http://x\"\n\
            grant-subscribe = []\n";
        let settings = read_text(text).unwrap();
        let seen: Vec<(String, Vec<String>)> = settings
            .into_iter()
            .map(|one| (one.place.to_string(), one.arguments))
            .collect();
        let expected = [
            ("t.toml:2", vec!["--listen=127.0.0.1:1"]),
            ("t.toml:3", vec!["--nats-tls"]),
            ("t.toml:4", vec![]),
            ("t.toml:5", vec!["--max-streams=5000"]),
            ("t.toml:6", vec!["--nats=nats://a", "--nats=nats://b"]),
            ("t.toml:7", vec!["--allow-origin=http://x"]),
            ("t.toml:8", vec![]),
        ];
        let expected: Vec<(String, Vec<String>)> = expected
            .into_iter()
            .map(|(place, all)| {
                (
                    place.to_owned(),
                    all.into_iter().map(str::to_owned).collect(),
                )
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_would_be_right() {
        for (text, expected) in [
            (
                "\nmax-streams = \"x\"",
                "t.toml:2: max-streams = \"x\": it is a whole number from 0 to 4294967295",
            ),
            (
                "max-patterns = 0",
                "t.toml:1: max-patterns = 0: it is a whole number from 1 to 4294967295",
            ),
            (
                "nats-create = 'always'",
                "t.toml:1: nats-create = 'always': there are missing, never",
            ),
            (
                "nats-tls = 1",
                "t.toml:1: nats-tls = 1: it is true or false",
            ),
            (
                "listen = ['a', 'b']",
                "t.toml:1: listen = ['a', 'b']: it has one value, and no list",
            ),
            (
                "drain = 1979-05-27",
                "t.toml:1: drain = 1979-05-27: it is a whole number of seconds from 0 to 3600",
            ),
            (
                "console = true",
                "t.toml:1: console = true: it is \"on\" or \"off\"",
            ),
            (
                "nats-stream = true",
                "t.toml:1: nats-stream = true: it is a text in quotes, or a number",
            ),
            (
                "max_stream = 1",
                "t.toml:1: max_stream is no setting; is max-streams meant?",
            ),
            (
                "colour = 1",
                "t.toml:1: the key is no setting; `tidings --help` has all of them",
            ),
            (
                "config = 'x'",
                "t.toml:1: config is not for the file, which it names",
            ),
            (
                "\n[nats]\nstream = 'S'",
                "t.toml:2: nats is a table; keys are the options' long names, without tables",
            ),
            (
                "[server]\nlisten = 'S'",
                "t.toml:1: the key is no setting; keys are the options' long names, without tables; `tidings --help` has all of them",
            ),
            (
                "retry = 20\nretry = 30",
                "t.toml:2: retry is there a second time",
            ),
        ] {
            let error = read_text(text).err().expect(text);
            assert_eq!(error, expected);
        }
        let error = read_text("allow-origin = [\n'http://a',\n'b']").err();
        assert!(
            error
                .unwrap()
                .starts_with("t.toml:3: allow-origin = 'b': it is a scheme")
        );
    }

    #[test]
    fn no_error_quotes_a_secret() {
        for text in [
            "nats-token = ['hunter2']",
            "nats-token = { hunter2 = 1 }",
            "jwks-url = 'hunter2'",
            "nats-token = 'hunter2",
            "nats-token = hunter2",
            "jwt-key = 'hunter2' 'hunter2'",
            "hunter2 = 1",
            "'jwt-key=hunter2' = 1",
            "[hunter2]",
            "allow-origin = 'http://u:hunter2@h'",
            "trusted-proxies = ['u:hunter2@h']",
        ] {
            let error = read_text(text).err().expect(text);
            assert!(error.starts_with("t.toml:1: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
