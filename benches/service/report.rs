//! Prints figures: a JSON line for each as it is measured, and a table at the end of each part.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::plan::Measured;

/// A table, all of whose columns but the first are numbers.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    for column in 1..table.column_count() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The columns of a step.
pub const COLUMNS: [&str; 13] = [
    "",
    "meetings",
    "frames/s",
    "p50, ms",
    "p99, ms",
    "max, ms",
    "server, cores",
    "generator, cores",
    "others, cores",
    "CPU a frame, µs",
    "resident, MiB",
    "generator late, p99 ms",
    "not answered, lost",
];

/// A row of [`COLUMNS`].
pub fn row(side: &str, measured: &Measured) -> Vec<String> {
    let of_time = |ms: f64| if measured.outputs == 0 { String::new() } else { format!("{ms:.1}") };
    vec![
        side.to_owned(),
        measured.meetings.to_string(),
        format!("{:.0}", measured.frames),
        of_time(measured.p50),
        of_time(measured.p99),
        of_time(measured.max),
        format!("{:.2}", measured.server_cores),
        format!("{:.2}", measured.own_cores),
        format!("{:.2}", measured.other_cores),
        format!("{:.1}", measured.cpu_each),
        format!("{:.0}", measured.resident),
        format!("{:.1}", measured.late_p99),
        format!("{}, {}", measured.unanswered + measured.problems + measured.missing, measured.lost),
    ]
}

/// Prints a step's JSON line.
pub fn line(part: &str, side: &str, measured: &Measured) {
    let mut line = json!({"part": part, "side": side});
    if let (Value::Object(line), Ok(Value::Object(figures))) = (&mut line, serde_json::to_value(measured)) {
        line.extend(figures);
    }
    println!("{line}");
}
