//! Colours, where a person looks: on a terminal, unless NO_COLOR is set.

use crate::report::Mark;

/// Paints or does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn when(colours: bool) -> Paint {
        Paint(colours)
    }

    /// The sign of a mark.
    pub(crate) fn sign(self, mark: Mark) -> String {
        let (sign, colour) = match mark {
            Mark::Good => ("✓", "32"),
            Mark::Waiting => ("…", "33"),
            Mark::Warning => ("!", "33"),
            Mark::Bad => ("✗", "31"),
            Mark::Unknown => ("?", "2"),
        };
        self.with(colour, sign)
    }

    /// What matters most.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_nothing_but_the_text_is_printed() {
        assert_eq!(Paint::when(false).bold("x"), "x");
        assert_eq!(Paint::when(false).sign(Mark::Bad), "✗");
        assert_eq!(Paint::when(true).bold("x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
