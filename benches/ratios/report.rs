//! Prints the figures: a JSON line for each, then a table; and draws them.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{
    median::median,
    plot::{self, Bar, Group},
};

/// The values of one side, one for each round.
#[derive(Debug, Clone, Default)]
pub struct Figure(Vec<f64>);

#[derive(Debug, Clone, Copy)]
pub enum FigureUnit {
    /// More is better.
    Rate(&'static str),
    /// Less is better.
    Cost(&'static str),
}

impl FigureUnit {
    fn name(self) -> &'static str {
        match self {
            Self::Rate(name) | Self::Cost(name) => name,
        }
    }
}

#[derive(Debug, Serialize)]
struct ReportLine {
    #[serde(skip)]
    bench: &'static str,
    name: String,
    ours: f64,
    peer: f64,
    peer_name: String,
    /// Ours ÷ the peer's; the median of the rounds' ratios.
    ratio: f64,
    unit: &'static str,
}

/// All figures so far.
#[derive(Debug, Default)]
pub struct RatioReport {
    lines: Vec<(ReportLine, FigureUnit)>,
    /// The bench that is running.
    bench: &'static str,
}

impl Figure {
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }
}

impl RatioReport {
    /// Adds a figure of two sides, and prints it. Rounds are paired, because a disturbance of the machine
    /// affects both sides of a round.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        ours: &Figure,
        peer_name: &str,
        peer: &Figure,
        unit: FigureUnit,
    ) {
        let ratios = ours.0.iter().zip(&peer.0).map(|(ours, peer)| ours / peer).collect();
        let line = ReportLine {
            bench: self.bench,
            name: name.into(),
            ours: ours.median(),
            peer: peer.median(),
            peer_name: peer_name.to_owned(),
            ratio: median(ratios),
            unit: unit.name(),
        };
        println!("{}", serde_json::to_string(&line).expect("a line has a JSON form"));
        self.lines.push((line, unit));
    }

    /// Draws a bench's figures as `NAME.svg` in a directory. Draws nothing if it has none.
    pub fn plot(&self, directory: &Path, name: &str) -> Result<(), Box<dyn std::error::Error>> {
        let mut groups: Vec<Group> = Vec::new();
        for (line, unit) in self.lines.iter().filter(|(line, _)| line.bench == name) {
            let how = match unit {
                FigureUnit::Rate(_) => "more is better",
                FigureUnit::Cost(_) => "less is better",
            };
            let title = format!("{} ({}; {how})", line.name, line.unit);
            if groups.last().is_none_or(|group| group.title != title) {
                let ours = Bar {
                    label: "ours".to_owned(),
                    value: line.ours,
                    shown: short(line.ours),
                    is_ours: true,
                };
                groups.push(Group { title, bars: vec![ours] });
            }
            let bars = &mut groups.last_mut().expect("it was just made").bars;
            let shown = format!("{}  (ours ÷ this: {:.2})", short(line.peer), line.ratio);
            bars.push(Bar { label: line.peer_name.clone(), value: line.peer, shown, is_ours: false });
        }
        if groups.is_empty() { Ok(()) } else { plot::draw(&directory.join(format!("{name}.svg")), &groups) }
    }

    /// Sets the bench to which the next figures belong.
    pub fn bench(&mut self, name: &'static str) {
        self.bench = name;
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["figure", "ours", "peer", "", "ours ÷ peer", "", "unit"]);
        for (line, unit) in &self.lines {
            table.add_row([
                line.name.clone(),
                short(line.ours),
                line.peer_name.clone(),
                short(line.peer),
                format!("{:.2}", line.ratio),
                match unit {
                    FigureUnit::Rate(_) => "more is better".to_owned(),
                    FigureUnit::Cost(_) => "less is better".to_owned(),
                },
                line.unit.to_owned(),
            ]);
        }
        for column in [1, 3, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("\n{table}");
    }
}

/// A number with three digits and a letter for its magnitude.
pub fn short(value: f64) -> String {
    let (value, letter) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {letter}").trim_end().to_owned()
}
