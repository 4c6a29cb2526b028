//! The terminal by OpenSSH's client.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::openssh;
use crate::stage::Stage;

pub(super) struct Viewer {
    _child: Box<Child>,
    keys: ChildStdin,
    output: ChildStdout,
}

impl Viewer {
    pub(super) fn open(stage: &Stage) -> anyhow::Result<Viewer> {
        let mut child = openssh::shell(stage)?;
        let keys = child.stdin.take().context("no input")?;
        let output = child.stdout.take().context("no output")?;
        Ok(Viewer { _child: Box::new(child), keys, output })
    }

    pub(super) async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        self.keys.write_all(keys.as_bytes()).await?;
        Ok(self.keys.flush().await?)
    }

    pub(super) async fn read(&mut self, to: &mut Vec<u8>) -> anyhow::Result<()> {
        to.reserve(64 * 1024);
        if self.output.read_buf(to).await? == 0 {
            bail!("ssh ended");
        }
        Ok(())
    }
}
