//! The result in Markdown.

use crate::Reports;
use crate::cases::{Case, Figure};
use crate::servers::Kind;
use serde_json::Value;
use std::fmt;
use std::fs;

pub(crate) struct Table<'a> {
    pub(crate) reports: &'a Reports,
    pub(crate) cases: &'a [&'static Case],
    pub(crate) kinds: &'a [Kind],
    pub(crate) rounds: usize,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Medians of {} rounds, in turns, on {}; server and load on the same machine, over loopback, events of 64 bytes. `×` is the ratio to the floor, which writes each event by itself; a server that falls behind may join several in one write, which makes its deliveries cheaper.\n",
            self.rounds,
            machine()
        )?;
        let names = self.kinds.iter().map(|kind| kind.name());
        writeln!(f, "| case | | {} |", names.collect::<Vec<_>>().join(" | "))?;
        writeln!(f, "| --- | --- |{}", " ---: |".repeat(self.kinds.len()))?;
        for case in self.cases {
            for (row, figure) in case.figures.iter().enumerate() {
                let title = if row == 0 { case.title } else { "" };
                write!(f, "| {title} | {} |", figure.title)?;
                for kind in self.kinds {
                    write!(f, " {} |", self.cell(case, figure, *kind))?;
                }
                writeln!(f)?;
            }
            self.losses(f, case)?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn cell(&self, case: &Case, figure: &Figure, kind: Kind) -> String {
        let Some(value) = self.median(case, figure.pointer, kind) else {
            return "–".to_owned();
        };
        let text = format!("{value:.*}", figure.decimals);
        let floor = self.median(case, figure.pointer, Kind::Floor);
        match floor.filter(|floor| figure.to_floor && kind != Kind::Floor && *floor > 0.0) {
            Some(floor) => format!("{text} ({:.2}×)", value / floor),
            None => text,
        }
    }

    /// A row that says so where anything went wrong with deliveries, in any round.
    fn losses(&self, f: &mut fmt::Formatter<'_>, case: &Case) -> fmt::Result {
        let wrong = [
            "/deliveries/lost",
            "/deliveries/duplicates",
            "/deliveries/out_of_order",
            "/deliveries/strays",
            "/connect/failed",
            "/connect/closed",
            "/publish/failed",
        ];
        let sum = |kind: Kind, pointer: &str| -> f64 {
            let reports = self.reports.get(&(case.name, kind));
            let values = reports.into_iter().flatten();
            values
                .filter_map(|report| report.pointer(pointer)?.as_f64())
                .sum()
        };
        for pointer in wrong {
            if self.kinds.iter().all(|kind| sum(*kind, pointer) == 0.0) {
                continue;
            }
            write!(
                f,
                "| | **{}**, all rounds |",
                pointer.trim_start_matches('/')
            )?;
            for kind in self.kinds {
                write!(f, " {} |", sum(*kind, pointer))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn median(&self, case: &Case, pointer: &str, kind: Kind) -> Option<f64> {
        let reports = self.reports.get(&(case.name, kind))?;
        let mut values: Vec<f64> = reports
            .iter()
            .filter_map(|report: &Value| report.pointer(pointer)?.as_f64())
            .collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len().checked_sub(1)? / 2;
        let upper = values.len() / 2;
        Some((values[middle] + values[upper]) / 2.0)
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), Linux {}", kernel.trim())
}
