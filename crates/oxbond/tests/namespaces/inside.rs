//! What needs a kernel with more than this kind of machine's has; run in a guest by `guest`.

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use oxbond_linux::netlink::{BridgeSetting, Netlink, PortVlan};

use crate::common::{PEER, PORTS, Subject};

#[test]
fn inside_the_best_front_and_hook_of_the_kernel_are_used_and_shown() {
    let subject = Subject::active_backup();
    let engine = subject.bond("bond0").unwrap()["engine"].clone();
    let expected =
        |variable: &str| std::env::var(variable).expect("the guest's test says what to expect");
    assert_eq!(engine["front"], expected("OXBOND_TEST_FRONT"), "{engine:#}");
    assert_eq!(engine["hook"], expected("OXBOND_TEST_HOOK"), "{engine:#}");
}

#[test]
fn inside_a_vlan_on_the_bond_carries_traffic_and_is_announced() {
    let subject = Subject::active_backup();
    let vlan = |namespace: &oxbond_lab::netns::Namespace, lower: &str, address: &str| {
        namespace
            .ip(&format!("link add link {lower} name vlan5 type vlan id 5"))
            .unwrap();
        namespace.ip("link set vlan5 up").unwrap();
        namespace
            .ip(&format!("address add {address}/24 dev vlan5"))
            .unwrap();
    };
    vlan(subject.host(), "bond0", "10.78.0.2");
    vlan(&subject.rig.peer, "peer0", "10.78.0.1");
    subject.wait_peer(&["10.78.0.1"]).unwrap();
    let at_peer = oxbond_lab::capture::Capture::start(&subject.rig.peer, "peer0").unwrap();
    subject.rig.cut(0).unwrap();
    at_peer
        .wait_for(PATIENCE, "the VLAN's address announced with its tag", |f| {
            // Behind the tag: ARP, sender protocol address.
            !f.outgoing
                && f.vlan() == Some(5)
                && f.ethertype() == 0x0806
                && f.data.get(32..36) == Some(&[10, 78, 0, 2])
        })
        .unwrap();
    subject.wait_peer(&["10.78.0.1"]).unwrap();
}

#[test]
fn inside_the_bond_is_a_port_of_a_vlan_filtering_bridge() {
    let subject = Subject::switched();
    subject.must("up bond0 --mode active-backup --port enp3s0 --port enp4s0 --miimon 100");
    let host = subject.host();
    host.ip("link add vmbr0 type bridge vlan_filtering 1 vlan_default_pvid 1")
        .unwrap();
    host.ip("link set bond0 master vmbr0").unwrap();
    host.ip("link set vmbr0 up").unwrap();
    host.execute("bridge", "vlan add dev bond0 vid 5").unwrap();
    host.execute("bridge", "vlan add dev vmbr0 vid 5 self")
        .unwrap();
    host.ip("link add link vmbr0 name vlan5 type vlan id 5")
        .unwrap();
    host.ip("link set vlan5 up").unwrap();
    host.ip("address add 10.78.0.2/24 dev vlan5").unwrap();
    host.ip("address add 10.77.0.2/24 dev vmbr0").unwrap();
    subject
        .rig
        .peer
        .ip("link add link peer0 name vlan5 type vlan id 5")
        .unwrap();
    subject.rig.peer.ip("link set vlan5 up").unwrap();
    subject
        .rig
        .peer
        .ip("address add 10.78.0.1/24 dev vlan5")
        .unwrap();
    subject.wait_peer(&[PEER[0], "10.78.0.1"]).unwrap();
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", PORTS[1]).unwrap();
    subject.wait_peer(&[PEER[0], "10.78.0.1"]).unwrap();
    wait_until(PATIENCE, "the ports are promiscuous for the bridge", || {
        PORTS
            .iter()
            .all(|port| host.link(port).unwrap()["promiscuity"] != 0)
    })
    .unwrap();
}

#[test]
fn inside_vlans_of_bridge_ports_and_vlan_devices_are_set_and_read_back() {
    let namespace = oxbond_lab::netns::Namespace::new("host").unwrap();
    namespace.run(|| {
        let mut nl = Netlink::open().unwrap();
        nl.create_bridge("vmbr0").unwrap();
        nl.create_veth("p0", "q0").unwrap();
        let index = |nl: &mut Netlink, name: &str| nl.link(name).unwrap().unwrap().index;
        let (bridge, p0) = (index(&mut nl, "vmbr0"), index(&mut nl, "p0"));
        nl.set_bridge(bridge, BridgeSetting::VlanFiltering(true))
            .unwrap();
        assert!(
            nl.link("vmbr0")
                .unwrap()
                .unwrap()
                .bridge
                .unwrap()
                .vlan_filtering
        );
        nl.set_master(p0, Some(bridge)).unwrap();
        let vlan = |vid, pvid| PortVlan {
            vid,
            pvid,
            untagged: pvid,
        };
        assert_eq!(nl.port_vlans().unwrap()[&p0], [vlan(1, true)]);
        nl.add_port_vlans(p0, false, 5..=7, false).unwrap();
        nl.add_port_vlans(p0, false, 5..=5, true).unwrap();
        nl.del_port_vlans(p0, false, 1..=1).unwrap();
        nl.add_port_vlans(bridge, true, 6..=6, false).unwrap();
        let vlans = nl.port_vlans().unwrap();
        assert_eq!(vlans[&p0], [vlan(5, true), vlan(6, false), vlan(7, false)]);
        assert_eq!(vlans[&bridge], [vlan(1, true), vlan(6, false)]);
        nl.del_port_vlans(p0, false, 5..=7).unwrap();
        nl.del_port_vlans(bridge, true, 6..=6).unwrap();
        let vlans = nl.port_vlans().unwrap();
        assert_eq!(vlans.get(&p0).cloned().unwrap_or_default(), []);
        assert_eq!(vlans[&bridge], [vlan(1, true)]);

        nl.create_vlan("p0.100", p0, 100).unwrap();
        let device = nl.link("p0.100").unwrap().unwrap();
        assert_eq!((device.vlan_id, device.lower), (Some(100), Some(p0)));
        nl.delete_link(device.index).unwrap();
        assert_eq!(nl.link("p0.100").unwrap(), None);
    });
}
