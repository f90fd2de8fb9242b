//! Addresses and names that come from a server, or from a file, once the bond can carry traffic.

use std::net::IpAddr;
use std::time::Duration;

use oxbond_lab::dhcp::DhcpServer;
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;

use crate::common::{PEER, PORTS, Subject};

/// A machine whose file wants one bond with these lines more.
struct Configured {
    subject: Subject,
    file: std::path::PathBuf,
}

impl Configured {
    fn new() -> Self {
        let subject = Subject::switched();
        let file = subject.run_dir().join("bond0.toml");
        Self { subject, file }
    }

    fn apply(&self, lines: &str) -> String {
        self.write(lines);
        self.subject.must(&format!("apply {}", self.file.display()))
    }

    fn write(&self, lines: &str) {
        let ports = PORTS.map(|port| format!("{port:?}")).join(", ");
        let text = format!(
            "[bond.bond0]\nmode = \"active-backup\"\nprimary = \"{}\"\nmiimon = 100\nports = [{ports}]\n{lines}\n",
            PORTS[0]
        );
        std::fs::write(&self.file, text).unwrap();
    }

    /// The bond's addresses that are good beyond the link.
    fn addresses(&self) -> Vec<IpAddr> {
        let links = self
            .subject
            .host()
            .ip_json("address show dev bond0 scope global");
        let links = links.unwrap_or_default();
        let known = links
            .iter()
            .flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
        known
            .filter_map(|address| address["local"].as_str()?.parse().ok())
            .collect()
    }

    fn wait_address(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        wait_until(PATIENCE, &format!("bond0 has {address}"), || {
            self.addresses().contains(&address)
        })
        .unwrap();
    }

    fn resolv_conf(&self) -> String {
        std::fs::read_to_string(self.subject.resolv_conf()).unwrap_or_default()
    }

    fn default_route(&self) -> String {
        self.subject.host().ip("route show default").unwrap()
    }
}

fn serve(configured: &Configured, words: &str) -> DhcpServer {
    let rig = &configured.subject.rig;
    DhcpServer::start(&rig.peer, "peer0", words).unwrap()
}

/// The least time that dnsmasq lends an address for, two minutes, has its client ask for more after one.
#[test]
fn root_a_lease_begins_with_the_carrier_and_lives_through_a_failover() {
    let mut configured = Configured::new();
    let server = serve(
        &configured,
        "--dhcp-range=10.77.0.50,10.77.0.50,2m --dhcp-option=option:router,10.77.0.1 \
         --dhcp-option=option:dns-server,10.77.0.1 --domain=example.net",
    );
    for port in 0..PORTS.len() {
        configured.subject.rig.cut(port).unwrap();
    }
    configured.apply("dhcp4 = true");
    configured.subject.fails("wait --timeout 1", 7);
    assert_eq!(server.count("DHCPDISCOVER"), 0, "{}", server.log());

    configured.subject.rig.restore(0).unwrap();
    configured.wait_address("10.77.0.50");
    wait_until(PATIENCE, "names are asked of the server's server", || {
        configured.resolv_conf().contains("nameserver 10.77.0.1")
    })
    .unwrap();
    assert!(configured.resolv_conf().contains("search example.net"));
    assert!(
        configured
            .default_route()
            .contains("via 10.77.0.1 dev bond0")
    );
    assert_eq!(configured.apply("dhcp4 = true").trim(), "nothing to change");
    // A client that waits for long asks twice.
    let told = |message: &str| server.count(message);
    let [asked, requested, lent] = ["DHCPDISCOVER", "DHCPREQUEST", "DHCPACK"].map(told);

    configured.subject.rig.restore(1).unwrap();
    configured.subject.wait_link(1, "up");
    configured.subject.rig.cut(0).unwrap();
    configured.subject.wait_peer(&PEER[..1]).unwrap();
    // No failover makes the client ask anew, and the next daemon finds the lease it has.
    assert_eq!(told("DHCPREQUEST"), requested, "{}", server.log());
    wait_until(
        Duration::from_secs(90),
        "the lease is prolonged over the other port",
        || told("DHCPACK") > lent,
    )
    .unwrap();
    assert_eq!(told("DHCPDISCOVER"), asked, "{}", server.log());
    let lent = told("DHCPACK");

    configured.subject.kill_daemon().unwrap();
    assert_eq!(configured.addresses().len(), 1);
    configured.subject.start_daemon().unwrap();
    wait_until(
        PATIENCE,
        "the next daemon asks for the same address",
        || told("DHCPACK") > lent,
    )
    .unwrap();
    assert_eq!(configured.addresses().len(), 1);
    assert_eq!(configured.apply("dhcp4 = true").trim(), "nothing to change");

    configured.apply("");
    assert_eq!(configured.addresses(), [] as [IpAddr; 0]);
    assert_eq!(configured.default_route(), "");
    assert_eq!(configured.resolv_conf(), "");
}

#[test]
fn root_a_trial_that_is_not_confirmed_gives_up_its_lease_and_its_names() {
    let configured = Configured::new();
    let _server = serve(
        &configured,
        "--dhcp-range=10.77.0.50,10.77.0.50,2m --dhcp-option=option:dns-server,10.77.0.1",
    );
    configured.apply("");
    configured.write("dhcp4 = true");
    let mut trial = configured.subject.command();
    trial.args(["try", "--timeout", "60"]).arg(&configured.file);
    let mut trial = trial.spawn().unwrap();
    configured.wait_address("10.77.0.50");
    wait_until(PATIENCE, "names are asked of the server's server", || {
        configured.resolv_conf().contains("nameserver 10.77.0.1")
    })
    .unwrap();
    configured.subject.must("rollback");
    trial.wait().unwrap();
    assert_eq!(configured.addresses(), [] as [IpAddr; 0]);
    assert_eq!(configured.resolv_conf(), "");
    assert!(configured.subject.bond("bond0").is_ok());
}

#[test]
fn root_an_ipv6_address_is_leased() {
    let configured = Configured::new();
    let _server = serve(
        &configured,
        "--enable-ra --dhcp-range=fd77::50,fd77::60,64,2m --dhcp-option=option6:dns-server,[fd77::1]",
    );
    configured.apply("dhcp6 = true");
    wait_until(PATIENCE, "bond0 has an address of the pool", || {
        let pool = "fd77::50".parse::<IpAddr>().unwrap()..="fd77::60".parse().unwrap();
        configured
            .addresses()
            .iter()
            .any(|address| pool.contains(address))
    })
    .unwrap();
    wait_until(PATIENCE, "names are asked over IPv6", || {
        configured.resolv_conf().contains("nameserver fd77::1")
    })
    .unwrap();
}

#[test]
fn root_name_servers_of_a_file_are_written_and_go_with_it() {
    let configured = Configured::new();
    let theirs = "nameserver 192.0.2.99\noptions edns0\n";
    std::fs::write(configured.subject.resolv_conf(), theirs).unwrap();
    let lines = "dns = [\"10.77.0.1\", \"fd77::1\"]\nsearch = [\"example.net\"]";
    let said = configured.apply(lines);
    assert!(
        said.contains("bond0: name servers 10.77.0.1, fd77::1"),
        "{said}"
    );
    let text = configured.resolv_conf();
    for line in [
        "nameserver 10.77.0.1\nnameserver fd77::1\n",
        "nameserver 192.0.2.99\n",
        "search example.net\n",
        "options edns0\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(configured.apply(lines).trim(), "nothing to change");
    configured.apply("");
    assert_eq!(configured.resolv_conf(), theirs);
}
