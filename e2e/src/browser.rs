//! A real Chromium, driven by chromedriver: opens the product's pages, finds elements by their `data-testid`, keeps screenshots. The processes end with the value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::eventually::eventually;
use crate::instance::Instance;

const PATIENCE: Duration = Duration::from_secs(20);
/// A line's end inside a message, as a person types it: Enter while Shift is held, and no key held after it (WebDriver, 17.4.2).
const SHIFT_ENTER: &str = "\u{E008}\u{E007}\u{E000}";

/// One browser window with a profile of its own.
pub struct Browser {
    client: Client,
    driver: Driver,
}

/// chromedriver and the Chromium that it starts, in a process group of their own. A case that fails closes no window.
struct Driver {
    child: Child,
    /// For all that they put aside: profiles and caches, which they remove only when they end by themselves.
    folder: TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = self.child.id() {
            let _none_is_left = std::process::Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
        }
        // Who is being killed may still write for a moment.
        let removed = || std::fs::remove_dir_all(self.folder.path()).is_ok();
        let _gone = (0..50).any(|_| {
            removed() || {
                std::thread::sleep(Duration::from_millis(20));
                false
            }
        });
    }
}

impl Browser {
    /// Starts chromedriver on a free port and a headless Chromium of 1280 × 900 pixels.
    ///
    /// # Errors
    /// When chromedriver or Chromium is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// As [`Browser::start`], and takes `address` for the instance's host: it comes to the pods by that way and not through the ingress.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub async fn start_by(instance: &Instance<'_>, address: SocketAddr) -> Result<Self> {
        Self::start_with(Some(format!("--host-resolver-rules=MAP {} {address}", instance.host()))).await
    }

    async fn start_with(flag: Option<String>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("catalyst-browser-").tempdir().context("a folder for Chromium")?;
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("chromedriver does not start (apt-get install chromium-driver)")?;
        let mut driver = Driver { child, folder };
        let mut lines = BufReader::new(driver.child.stdout.take().context("chromedriver's output")?).lines();
        let port: u16 = loop {
            let line = lines.next_line().await?.context("chromedriver ended before it listened")?;
            if let Some(port) = line.strip_suffix('.').and_then(|line| line.split("on port ").nth(1)) {
                break port.parse()?;
            }
        };
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ];
        let flags: Vec<&str> = flags.into_iter().chain(flag.as_deref()).collect();
        let options = json!({"binary": "/usr/bin/chromium", "args": flags});
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities([("goog:chromeOptions".to_owned(), options)].into_iter().collect())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("Chromium does not start")?;
        Ok(Self { client, driver })
    }

    /// Opens `url` and waits for its load event.
    ///
    /// # Errors
    /// When the page cannot be loaded.
    pub async fn open(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Loads the page again.
    ///
    /// # Errors
    /// When the page cannot be loaded.
    pub async fn reload(&self) -> Result<()> {
        Ok(self.client.refresh().await?)
    }

    /// The first element with this `data-testid`, awaited.
    ///
    /// # Errors
    /// When there is none in 20 s.
    pub async fn find(&self, testid: &str) -> Result<Element> {
        self.css(&format!("[data-testid='{testid}']")).await
    }

    /// The first element that a CSS selector finds, awaited.
    ///
    /// # Errors
    /// When there is none in 20 s; the error has the text of the page.
    pub async fn css(&self, selector: &str) -> Result<Element> {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await;
        match found {
            Ok(element) => Ok(element),
            Err(error) => {
                bail!("no {selector} on {}: {error}\n{}", self.client.current_url().await?, self.text().await?)
            }
        }
    }

    /// How many elements a CSS selector finds now.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn count(&self, selector: &str) -> Result<usize> {
        Ok(self.client.find_all(Locator::Css(selector)).await?.len())
    }

    /// The texts of all elements that a CSS selector finds now, as a person sees them.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn texts(&self, selector: &str) -> Result<Vec<String>> {
        let script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)";
        Ok(serde_json::from_value(self.client.execute(script, vec![json!(selector)]).await?)?)
    }

    /// Clicks the element with this `data-testid`.
    ///
    /// # Errors
    /// When it is not there or cannot be clicked.
    pub async fn click(&self, testid: &str) -> Result<()> {
        Ok(self.find(testid).await?.click().await?)
    }

    /// Types into the element with this `data-testid`.
    ///
    /// # Errors
    /// When it is not there or takes no text.
    pub async fn type_into(&self, testid: &str, text: &str) -> Result<()> {
        Ok(self.find(testid).await?.send_keys(text).await?)
    }

    /// Types where the page has put the keyboard.
    ///
    /// # Errors
    /// When nothing there takes keys.
    pub async fn type_keys(&self, keys: &str) -> Result<()> {
        Ok(self.client.active_element().await?.send_keys(keys).await?)
    }

    /// Chooses an option of the list with this `data-testid`.
    ///
    /// # Errors
    /// When there is no such list or option.
    pub async fn choose(&self, testid: &str, value: &str) -> Result<()> {
        Ok(self.find(testid).await?.select_by_value(value).await?)
    }

    /// The text of the whole page as a person sees it.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn text(&self) -> Result<String> {
        Ok(serde_json::from_value(self.client.execute("return document.body.innerText", vec![]).await?)?)
    }

    /// Waits until the page's text contains `words`.
    ///
    /// # Errors
    /// When it does not in `deadline`; the error has the text.
    pub async fn await_text(&self, words: &str, deadline: Duration) -> Result<()> {
        eventually(&format!("a page with {words:?}"), deadline, || async {
            let text = self.text().await?;
            if text.contains(words) { Ok(()) } else { Err(anyhow::anyhow!(text)) }
        })
        .await?;
        Ok(())
    }

    /// Resizes the window, in CSS pixels.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        Ok(self.client.set_window_size(width, height).await?)
    }

    /// Keeps a screenshot as `e2e/artifacts/NAME.png`.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub async fn screenshot(&self, name: &str) -> Result<()> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("artifacts");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await?)?)
    }

    /// Signs in on the page that is open and waits for the list of ideas.
    ///
    /// # Errors
    /// When the sign-in does not lead to the list.
    pub async fn sign_in(&self, url: &str, secret: &str) -> Result<()> {
        self.open(url).await?;
        self.type_into("sign-in-secret", secret).await?;
        self.click("sign-in-submit").await?;
        self.find("idea-new").await?;
        Ok(())
    }

    /// Captures an idea and waits until its page is open.
    ///
    /// # Errors
    /// When its page does not open.
    pub async fn new_idea(&self, title: &str, content: &str) -> Result<()> {
        self.click("idea-new").await?;
        self.type_into("idea-title", title).await?;
        self.type_into("idea-content", content).await?;
        self.click("idea-save").await?;
        self.find("chat-input").await?;
        Ok(())
    }

    /// Opens an idea from the list of all.
    ///
    /// # Errors
    /// When it is not in the list.
    pub async fn open_idea(&self, slug: &str) -> Result<()> {
        Ok(self.css(&format!("[data-testid='idea-item'][data-slug='{slug}']")).await?.click().await?)
    }

    /// Sends a message on an idea's page.
    ///
    /// # Errors
    /// When there is no such page open.
    pub async fn say(&self, message: &str) -> Result<()> {
        self.type_into("chat-input", &message.replace('\n', SHIFT_ENTER)).await?;
        self.click("chat-send").await
    }

    /// Closes the window, as a person does who shuts the laptop.
    ///
    /// # Errors
    /// When the browser is gone already.
    pub async fn close(mut self) -> Result<()> {
        self.client.clone().close().await?;
        self.driver.child.kill().await?;
        Ok(())
    }
}
