//! A real DHCP server, dnsmasq, inside a namespace.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::machine::PATIENCE;
use crate::netns::Namespace;
use crate::proc::Process;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// dnsmasq, serving addresses on one interface. Goes with its handle, its files too.
#[derive(Debug)]
pub struct DhcpServer {
    process: Process,
    leases: PathBuf,
}

impl DhcpServer {
    /// Starts it in a namespace, on an interface that has an address already. `words` are further options of dnsmasq,
    /// split at white space: at least one `--dhcp-range`.
    ///
    /// # Errors
    /// If dnsmasq cannot be started or does not like its options.
    pub fn start(namespace: &Namespace, interface: &str, words: &str) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let leases =
            std::env::temp_dir().join(format!("oxbond-lab-leases-{}-{number}", std::process::id()));
        let mut command = namespace.command("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--port=0",
                "--bind-dynamic",
                "--user=root",
                "--pid-file=",
                "--log-facility=-",
                "--log-dhcp",
                "--dhcp-authoritative",
            ])
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(words.split_whitespace());
        let mut process = Process::start("dnsmasq", command)?;
        process.wait_ready(PATIENCE, "it serves", |process| {
            process.stderr().contains("DHCP, ")
        })?;
        Ok(Self { process, leases })
    }

    /// What it logged: a line for each message of the protocol, such as `DHCPACK(veth0) 192.0.2.50 02:…`.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// How often it sent or heard a message: `DHCPREQUEST`.
    pub fn count(&self, message: &str) -> usize {
        let message = format!(" {message}(");
        self.log().matches(&message).count()
    }

    /// The addresses it has lent.
    ///
    /// # Errors
    /// If its list of leases cannot be read.
    pub fn lent(&self) -> Result<Vec<IpAddr>> {
        let text = std::fs::read_to_string(&self.leases)
            .with_context(|| format!("cannot read {}", self.leases.display()))?;
        // EXPIRY MAC ADDRESS NAME CLIENT-ID
        Ok(text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())
            .filter(|address| *address != IpAddr::from(Ipv4Addr::UNSPECIFIED))
            .collect())
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.leases));
    }
}
