//! What a person sees of Claude's answers on an idea's page.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::browser::Browser;
use crate::eventually::eventually;

/// How long a turn may take.
const TURN: Duration = Duration::from_secs(60);
const ANSWER: &str = "[data-testid='message'][data-role='assistant'] [data-testid='assistant-text']";

impl Browser {
    /// All that the assistant has said so far.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn said(&self) -> Result<String> {
        Ok(self.texts(ANSWER).await?.join(" "))
    }

    /// The numbers n of "tick n" in what the assistant has said so far.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn ticks(&self) -> Result<Vec<u32>> {
        let said = self.said().await?;
        let words = said.split_whitespace();
        let pairs = words.clone().zip(words.skip(1));
        Ok(pairs.filter(|(word, _)| *word == "tick").filter_map(|(_, number)| number.parse().ok()).collect())
    }

    /// Waits until the assistant has said so many ticks, and returns what it has said by then.
    ///
    /// # Errors
    /// When it has not in 60 s; the error has the page.
    pub async fn ticks_reach(&self, count: usize) -> Result<Vec<u32>> {
        let (ticks, _) = eventually(&format!("{count} ticks"), TURN, || async {
            let ticks = self.ticks().await?;
            if ticks.len() >= count {
                Ok(ticks)
            } else {
                Err(anyhow!("{} ticks; page: {}", ticks.len(), self.text().await?))
            }
        })
        .await?;
        Ok(ticks)
    }

    /// Waits until so many turns have ended.
    ///
    /// # Errors
    /// When they have not in 60 s; the error has the page.
    pub async fn results_reach(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} ended turns"), TURN, || async {
            let ended = self.count("[data-testid='run-result']").await?;
            if ended >= count { Ok(()) } else { Err(anyhow!("{ended}; page: {}", self.text().await?)) }
        })
        .await?;
        Ok(())
    }
}
