//! Leases from a real server, dnsmasq, in a namespace of its own.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::mpsc;
use std::time::Duration;

use oxbond_lab::dhcp::DhcpServer;
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_linux::dhcp::{Client, Lease, News, keep_v4, keep_v6};

/// A client's namespace and a server's, joined by a cable from `veth0` to `veth1`.
struct Cable {
    client: Namespace,
    server: Namespace,
}

impl Cable {
    fn new() -> Self {
        let client = Namespace::new("client").unwrap();
        let server = Namespace::new("server").unwrap();
        client
            .ip(&format!(
                "link add veth0 type veth peer name veth1 netns {}",
                server.path()
            ))
            .unwrap();
        server.ip("address add 192.0.2.1/24 dev veth1").unwrap();
        server
            .ip("address add 2001:db8::1/64 dev veth1 nodad")
            .unwrap();
        server.set_link("veth1", true).unwrap();
        client.set_link("veth0", true).unwrap();
        Self { client, server }
    }

    fn device(&self) -> Client {
        let link = self.client.link("veth0").unwrap();
        Client {
            name: "veth0".to_owned(),
            ifindex: link["ifindex"].as_u64().unwrap().try_into().unwrap(),
            mac: link["address"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// Keeps a lease in the client until `look` has seen what it wants.
    fn keep(&self, ipv6: bool, look: impl FnOnce(&mpsc::Receiver<News>)) {
        let device = self.device();
        let link_local = ipv6.then(|| self.link_local());
        let (tell, hear) = mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let client = self.client.clone();
        let keeper = std::thread::spawn(move || {
            client.run(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let tell = |news| drop(tell.send(news));
                    match link_local {
                        Some(link_local) => tokio::select! {
                            never = keep_v6(device, link_local, tell) => match never {},
                            _ = ended => {}
                        },
                        None => tokio::select! {
                            never = keep_v4(device, tell) => match never {},
                            _ = ended => {}
                        },
                    }
                });
            });
        });
        look(&hear);
        drop(end);
        keeper.join().unwrap();
    }

    fn link_local(&self) -> Ipv6Addr {
        let mut found = None;
        wait_until(PATIENCE, "the client has its link-local address", || {
            let links = self
                .client
                .ip_json("-6 address show dev veth0 scope link -tentative")
                .unwrap();
            found = links
                .iter()
                .flat_map(|link| link["addr_info"].as_array().into_iter().flatten())
                .find_map(|address| address["local"].as_str()?.parse().ok());
            found.is_some()
        })
        .unwrap();
        found.unwrap()
    }
}

fn leased(hear: &mpsc::Receiver<News>) -> Lease {
    loop {
        match hear.recv_timeout(PATIENCE).expect("news of a lease") {
            News::Leased(lease) => return lease,
            News::Lost => panic!("lost before it was given"),
            News::Trouble(_) => {}
        }
    }
}

#[test]
fn root_a_lease_has_all_that_the_server_says() {
    let cable = Cable::new();
    let server = DhcpServer::start(
        &cable.server,
        "veth1",
        "--dhcp-range=192.0.2.50,192.0.2.50,2m --dhcp-option=option:router,192.0.2.1 \
         --dhcp-option=option:dns-server,192.0.2.1,192.0.2.2 --domain=example.net",
    )
    .unwrap();
    cable.keep(false, |hear| {
        let lease = leased(hear);
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!((lease.address, lease.prefix_len), (ip("192.0.2.50"), 24));
        assert_eq!(lease.routes, [(ip("0.0.0.0"), 0, ip("192.0.2.1"))]);
        assert_eq!(lease.dns, [ip("192.0.2.1"), ip("192.0.2.2")]);
        assert_eq!(lease.search, ["example.net"]);
        assert_eq!(lease.valid_secs, 120);
    });
    // The server is not told of the end, so a client that begins again is given the same, from a pool of one.
    assert_eq!(server.count("DHCPRELEASE"), 0);
    cable.keep(false, |hear| {
        assert_eq!(leased(hear).address, server.lent().unwrap()[0]);
    });
}

#[test]
fn root_a_server_that_comes_late_is_found() {
    let cable = Cable::new();
    cable.keep(false, |hear| {
        assert_eq!(
            hear.recv_timeout(Duration::from_millis(500)),
            Err(mpsc::RecvTimeoutError::Timeout)
        );
        let _server = DhcpServer::start(
            &cable.server,
            "veth1",
            "--dhcp-range=192.0.2.50,192.0.2.60,2m \
             --dhcp-option=option:classless-static-route,0.0.0.0/0,192.0.2.1,198.51.100.0/24,192.0.2.2",
        )
        .unwrap();
        let lease = leased(hear);
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!(
            lease.routes,
            [
                (ip("0.0.0.0"), 0, ip("192.0.2.1")),
                (ip("198.51.100.0"), 24, ip("192.0.2.2"))
            ]
        );
    });
}

#[test]
fn root_an_ipv6_address_is_leased_too() {
    let cable = Cable::new();
    let _server = DhcpServer::start(
        &cable.server,
        "veth1",
        "--enable-ra --dhcp-range=2001:db8::50,2001:db8::60,64,2m \
         --dhcp-option=option6:dns-server,[2001:db8::1] --dhcp-option=option6:domain-search,example.net",
    )
    .unwrap();
    cable.keep(true, |hear| {
        let lease = leased(hear);
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert!(
            (ip("2001:db8::50")..=ip("2001:db8::60")).contains(&lease.address),
            "{lease:?}"
        );
        assert_eq!(lease.prefix_len, 128);
        assert_eq!(lease.dns, [ip("2001:db8::1")]);
        assert_eq!(lease.search, ["example.net"]);
        assert_eq!(lease.valid_secs, 120);
    });
}
