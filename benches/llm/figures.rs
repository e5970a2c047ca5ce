//! Collects what the sides took, and prints it: a JSON line for each side of a case, then a table of all cases.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::{
    Case,
    median::{median, of_rounds},
};

/// What one side took in one round.
pub struct Slice {
    /// The time of each request.
    pub times: Vec<Duration>,
    /// How long all of them took together.
    pub took: Duration,
    /// The processor time of this process meanwhile.
    pub cpu: Duration,
}

/// What one side took in all rounds of a case. Times are in microseconds.
pub struct Side {
    pub name: &'static str,
    /// All requests' times in nanoseconds.
    times: Histogram<u64>,
    p50: Vec<f64>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Side {
    pub fn new(name: &'static str) -> Self {
        let times = Histogram::new(3).expect("three digits are allowed");
        Self { name, times, p50: Vec::new(), rate: Vec::new(), cpu: Vec::new() }
    }

    pub fn add(&mut self, mut slice: Slice) {
        slice.times.sort_unstable();
        for time in &slice.times {
            self.times.record(time.as_nanos() as u64).expect("the histogram grows");
        }
        let count = slice.times.len() as f64;
        self.p50.push(slice.times[slice.times.len() / 2].as_secs_f64() * 1e6);
        self.rate.push(count / slice.took.as_secs_f64());
        self.cpu.push(slice.cpu.as_secs_f64() * 1e6 / count);
    }

    fn p99(&self) -> f64 {
        self.times.value_at_quantile(0.99) as f64 / 1e3
    }
}

/// The table of all cases.
pub struct Report(Table);

impl Report {
    pub fn new() -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "server",
            "at once",
            "side",
            "requests",
            "p50, µs",
            "p99, µs",
            "p50 − bare, µs",
            "requests/s",
            "CPU each, µs",
            "p50 ÷ peer",
            "CPU ÷ peer",
        ]);
        for column in [1, 3, 4, 5, 6, 7, 8, 9, 10] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// Adds a case. `bare` shows the server's own time, and `peer` is what the others are divided by.
    pub fn add(&mut self, case: &Case, sides: &[Side], bare: &str, peer: &str) {
        let find = |name: &str| sides.iter().find(|side| side.name == name);
        for side in sides {
            let (p50, rate, cpu) =
                (median(side.p50.clone()), median(side.rate.clone()), median(side.cpu.clone()));
            let over = find(bare)
                .filter(|bare| bare.name != side.name)
                .map(|bare| of_rounds(&side.p50, &bare.p50, |ours, bare| ours - bare));
            let peer = find(peer).filter(|peer| ![peer.name, bare].contains(&side.name));
            let ratio = peer.map(|peer| of_rounds(&side.p50, &peer.p50, |ours, peer| ours / peer));
            let cpu_ratio = peer.map(|peer| of_rounds(&side.cpu, &peer.cpu, |ours, peer| ours / peer));
            let line = json!({
                "server": case.to_string(), "at_once": case.at_once, "side": side.name, "requests": side.times.len(),
                "p50_us": p50, "p99_us": side.p99(), "p50_over_bare_us": over, "requests_per_second": rate,
                "cpu_us": cpu, "p50_ratio": ratio, "cpu_ratio": cpu_ratio,
            });
            println!("{line}");
            let shown = |value: Option<f64>, digits: usize| {
                value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
            };
            self.0.add_row([
                case.to_string(),
                case.at_once.to_string(),
                side.name.to_owned(),
                side.times.len().to_string(),
                shown(Some(p50), 0),
                shown(Some(side.p99()), 0),
                shown(over, 0),
                shown(Some(rate), 0),
                shown(Some(cpu), 0),
                shown(ratio, 3),
                shown(cpu_ratio, 2),
            ]);
        }
    }

    pub fn print(&self) {
        println!("\n{}", self.0);
    }
}
