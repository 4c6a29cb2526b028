//! What may become of packets on the way to the VM and back: lost, held up, gone in one direction or both.
//!
//! By the firewall and the shaper in the VM's own network namespace, with which all of it goes. Not by netem, which not every kernel has.

use anyhow::ensure;

use super::network::{INNER_LINK, VmNetwork, run};

/// How the network is between the VM and everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything arrives.
    Fair,
    /// Of the packets in either direction this share is lost, each by chance; in percent, below 100.
    Losing(u8),
    /// So many kilobits a second leave the VM; what is beyond waits in a queue for up to two seconds, then is lost.
    Slow(u32),
    /// What the VM sends is lost; what is sent to it arrives.
    Mute,
    /// What is sent to the VM is lost; what it sends leaves it.
    Deaf,
    /// All of it is lost, and the cable is in: connections stay open at both ends.
    Silent,
}

impl VmNetwork {
    /// Ends what was before.
    pub(super) fn weather(&self, weather: Weather) -> anyhow::Result<()> {
        self.firewall(&["-F"])?;
        // There is none to delete in fair weather.
        let _none = self.shaper("del", &[]);
        match weather {
            Weather::Fair => Ok(()),
            Weather::Losing(percent) => {
                ensure!(percent < 100, "{percent} % of the packets cannot be lost by chance; take Silent");
                let share = format!("0.{percent:02}");
                let by_chance = ["-m", "statistic", "--mode", "random", "--probability", &share];
                self.lose_arriving(&by_chance)?;
                self.lose_leaving(&by_chance)
            }
            Weather::Slow(kilobits) => {
                let rate = format!("{kilobits}kbit");
                self.shaper("replace", &["tbf", "rate", &rate, "burst", "4kb", "latency", "2s"])
            }
            Weather::Mute => self.lose_leaving(&[]),
            Weather::Deaf => self.lose_arriving(&[]),
            Weather::Silent => {
                self.lose_arriving(&[])?;
                self.lose_leaving(&[])
            }
        }
    }

    fn lose_arriving(&self, which: &[&str]) -> anyhow::Result<()> {
        self.firewall(&[&["-A", "INPUT", "-i", INNER_LINK][..], which, &["-j", "DROP"]].concat())
    }

    fn lose_leaving(&self, which: &[&str]) -> anyhow::Result<()> {
        self.firewall(&[&["-A", "OUTPUT", "-o", INNER_LINK][..], which, &["-j", "DROP"]].concat())
    }

    fn firewall(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run("ip", &[&["netns", "exec", &self.namespace, "iptables", "-w"][..], arguments].concat())
    }

    fn shaper(&self, act: &str, queue: &[&str]) -> anyhow::Result<()> {
        run("tc", &[&["-n", &self.namespace, "qdisc", act, "dev", INNER_LINK, "root"][..], queue].concat())
    }
}
