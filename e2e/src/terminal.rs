//! What a person sees of a terminal on an idea's page.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::browser::Browser;
use crate::eventually::eventually;

/// How long a terminal may take to be there, or to be lost.
const PATIENCE: Duration = Duration::from_secs(30);
const OPEN: &str = "[data-testid='terminal'][data-state='open']";
const ROWS: &str = "[data-testid='terminal'] .xterm-rows > div";

impl Browser {
    /// The lines on the screen of the terminal, without the blanks at their ends.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn screen(&self) -> Result<Vec<String>> {
        Ok(self.texts(ROWS).await?.iter().map(|line| line.trim_end().to_owned()).collect())
    }

    /// Waits until so many lines on the screen are just this.
    ///
    /// # Errors
    /// When they are not in 30 s; the error has the screen.
    pub async fn screen_has(&self, line: &str, times: usize) -> Result<()> {
        eventually(&format!("{times} lines {line:?} on the screen"), PATIENCE, || async {
            let screen = self.screen().await?;
            ensure!(screen.iter().filter(|each| *each == line).count() == times, "{}", screen.join("\n"));
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Waits until the terminal is connected, or is not; returns how long that took.
    ///
    /// # Errors
    /// When it does not become so in 30 s; the error has the page.
    pub async fn terminal_is_open(&self, open: bool) -> Result<Duration> {
        let what = if open { "the terminal is connected" } else { "the terminal is not connected" };
        let ((), took) = eventually(what, PATIENCE, || async {
            ensure!((self.count(OPEN).await? == 1) == open, "{}", self.text().await?);
            Ok(())
        })
        .await?;
        Ok(took)
    }
}
