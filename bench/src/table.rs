//! The table of a benchmark: what was measured, what was wanted, and how the two compare.

use std::fmt;

/// Which side of the target is the good one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// The figure shall be this or less.
    AtMost(f64),
    /// The figure shall be this or more.
    AtLeast(f64),
    /// There is no target; the figure is for comparison.
    Nothing,
}

/// One line of the table.
#[derive(Clone, Debug)]
struct Line {
    what: String,
    value: f64,
    unit: &'static str,
    wanted: Wanted,
    remark: String,
}

/// Lines in the order in which they were measured; shown as Markdown.
#[derive(Clone, Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// Adds a line and says it on standard error at once, so that a long run shows where it is.
    pub fn add(&mut self, what: &str, value: f64, unit: &'static str, wanted: Wanted, remark: impl Into<String>) {
        let line = Line { what: what.to_owned(), value, unit, wanted, remark: remark.into() };
        eprintln!("{line}");
        self.lines.push(line);
    }

    /// How many targets were missed.
    pub fn missed(&self) -> usize {
        self.lines.iter().filter(|line| line.met() == Some(false)).count()
    }
}

impl Line {
    fn met(&self) -> Option<bool> {
        match self.wanted {
            Wanted::AtMost(limit) => Some(self.value <= limit),
            Wanted::AtLeast(limit) => Some(self.value >= limit),
            Wanted::Nothing => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { what, value, unit, wanted, remark } = self;
        write!(f, "| {what} | {} {unit} |", figure(*value))?;
        match wanted {
            Wanted::AtMost(limit) => write!(f, " ≤ {} | {} |", figure(*limit), figure(value / limit))?,
            Wanted::AtLeast(limit) => write!(f, " ≥ {} | {} |", figure(*limit), figure(value / limit))?,
            Wanted::Nothing => write!(f, " | |")?,
        }
        let mark = match self.met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        write!(f, " {mark} | {remark} |")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | target | of the target | met | remark |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
