//! A picture of a bench's figures: for each figure, bars of ours and its peers on a logarithmic scale, with
//! the value next to each bar.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::{Color, DrawingArea, IntoDrawingArea, RGBColor, Rectangle, SVGBackend, Text, WHITE},
    style::{IntoFont, TextStyle},
};

pub struct Bar {
    pub label: String,
    pub value: f64,
    /// The value as text.
    pub shown: String,
    pub is_ours: bool,
}

/// The bars of one figure, which have one unit.
pub struct Group {
    pub title: String,
    pub bars: Vec<Bar>,
}

// In pixels.
const WIDTH: u32 = 760;
const ROW: u32 = 22;
const TITLE: u32 = 30;
/// Where bars begin; the labels are left of it.
const LABELS: u32 = 200;
/// The length of the longest bar.
const LONGEST: u32 = 430;
const OURS: RGBColor = RGBColor(38, 110, 180);
const PEERS: RGBColor = RGBColor(170, 170, 170);
const INK: RGBColor = RGBColor(40, 40, 40);

/// Draws groups below each other.
pub fn draw(path: &Path, groups: &[Group]) -> Result<(), Box<dyn std::error::Error>> {
    let rows: u32 = groups.iter().map(|group| TITLE + ROW * group.bars.len() as u32).sum();
    let root = SVGBackend::new(path, (WIDTH, rows + 16)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut y = 4;
    for group in groups {
        y = draw_group(&root, group, y)?;
    }
    root.present()?;
    Ok(())
}

fn draw_group(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    group: &Group,
    mut y: u32,
) -> Result<u32, Box<dyn std::error::Error>> {
    let title: TextStyle<'_> = ("sans-serif", 15).into_font().color(&INK);
    let label: TextStyle<'_> = ("sans-serif", 13).into_font().color(&INK);
    let text = |x: u32, y: u32, what: &str, style: &TextStyle<'_>| {
        root.draw(&Text::new(what.to_owned(), (x as i32, y as i32), style.clone()))
    };
    text(6, y + 8, &group.title, &title)?;
    y += TITLE;
    let logs = group.bars.iter().map(|bar| bar.value.max(f64::MIN_POSITIVE).log10());
    let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    // The shortest bar has a sixth of the longest one's length, or more if the values differ by less than a
    // factor of ten.
    let span = (high - low).max(1.0);
    for bar in &group.bars {
        let part = 1.0 - (high - bar.value.max(f64::MIN_POSITIVE).log10()) / span * (5.0 / 6.0);
        let end = LABELS + (f64::from(LONGEST) * part) as u32;
        let color = if bar.is_ours { OURS } else { PEERS };
        text(16, y + 4, &bar.label, &label)?;
        let corners = [(LABELS as i32, y as i32 + 2), (end as i32, (y + ROW) as i32 - 4)];
        root.draw(&Rectangle::new(corners, color.filled()))?;
        text(end + 6, y + 4, &bar.shown, &label)?;
        y += ROW;
    }
    Ok(y)
}
