//! The settings read again, while a server runs.

mod files;

use super::config::{Told, changed, with_places};
use super::{Cli, Given};
use crate::app::{RELOADABLE, Reload};
use files::File;
use sd_notify::NotifyState;

/// Reads the settings again when it is told to.
pub(super) struct Reloader {
    /// The settings that are in force.
    given: Given,
    /// The files that they came from, as they were then.
    files: Vec<File>,
    reload: Reload,
    set_filter: SetFilter,
}

/// Sets what is logged from now on, by a filter that was parsed already.
pub(super) type SetFilter = Box<dyn Fn(&str) -> anyhow::Result<()> + Send>;

impl Reloader {
    /// With the settings of the start, which has just been.
    pub(super) fn new(given: Given, reload: Reload, set_filter: SetFilter) -> Self {
        Self {
            files: files::look(&given.told),
            given,
            reload,
            set_filter,
        }
    }

    /// Reads them, and puts those into force that can change: all, or none where anything is wrong with any.
    pub(super) fn run(&mut self) {
        let now = NotifyState::monotonic_usec_now();
        let now = now.map(|now| tell_init(&[NotifyState::Reloading, now]));
        if let Err(error) = now {
            tracing::debug!(%error, "there is no clock for the init system");
        }
        match self.read() {
            Ok((told, files)) => {
                self.log_changes(&told, &files);
                self.files = files;
                for (in_force, read) in self.given.told.iter_mut().zip(told) {
                    if can_change(&read.name) {
                        *in_force = read;
                    }
                }
            }
            Err(error) => tracing::error!(
                "the settings were read again and can't be used, those of before stay in force, and so do the keys: {error:#}"
            ),
        }
        tell_init(&[NotifyState::Ready]);
    }

    fn read(&self) -> anyhow::Result<(Vec<Told>, Vec<File>)> {
        let read = Cli::of(self.given.arguments.clone()).map_err(|error| {
            self.reload.refused();
            anyhow::Error::msg(first_part(&error.to_string()))
        });
        let read = read?;
        let told = read.given.told.clone();
        // Before they are used: what changes meanwhile is seen the next time.
        let files = files::look(&told);
        if let Some(serve) = read.into_serve() {
            let applied = self.reload.apply(&serve.settings);
            applied.map_err(|error| anyhow::Error::msg(with_places(&error, &told)))?;
            (self.set_filter)(&serve.log)?;
        }
        Ok((told, files))
    }

    fn log_changes(&self, told: &[Told], files: &[File]) {
        let (applied, waiting): (Vec<&str>, Vec<&str>) = changed(&self.given.told, told)
            .into_iter()
            .partition(|name| can_change(name));
        let applied = match applied.is_empty() {
            true => "no setting has changed".to_owned(),
            false => format!("changed: {}", applied.join(", ")),
        };
        let files = match files::told(&self.files, files) {
            files if files.is_empty() => files,
            files => format!("; files: {files}"),
        };
        tracing::info!("the settings were read again; {applied}{files}");
        if !waiting.is_empty() {
            let waiting = waiting.join(", ");
            tracing::warn!("what has changed of these counts from the next start on: {waiting}");
        }
    }
}

fn can_change(name: &str) -> bool {
    name == "log" || RELOADABLE.contains(&name)
}

/// Tells systemd, where it has started this process and waits to be told (sd_notify(3)).
pub(super) fn tell_init(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the init system can't be told (NOTIFY_SOCKET)");
    }
}

/// What an error of the command line says, without its label and how the program is used.
fn first_part(error: &str) -> String {
    let text = error.strip_prefix("error: ").unwrap_or(error);
    let text = text.split("\n\nUsage").next().unwrap_or(text);
    let text = text.split("\n\nFor more").next().unwrap_or(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    super::printable(&lines.collect::<Vec<_>>().join("; ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_can_change_is_an_option() {
        let command = Cli::command();
        for name in RELOADABLE {
            let has = command.get_opts().any(|one| one.get_long() == Some(name));
            assert!(has, "--{name}");
        }
    }

    #[test]
    fn an_error_is_one_line_without_how_the_program_is_used() {
        let error = Cli::of(vec!["tidings".into(), "--retry".into(), "1".into()]).err();
        let text = first_part(&error.expect("an error").to_string());
        assert_eq!(
            text,
            "invalid value '1' for '--retry <MS>': it is a whole number of milliseconds from 10 to 3600000"
        );
    }
}
