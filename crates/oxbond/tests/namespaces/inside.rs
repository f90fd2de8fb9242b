//! What needs a kernel with more than this kind of machine's has; run in a guest by `guest`.

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use oxbond_linux::netlink::{BridgeSetting, Netlink, PortVlan};

use crate::administration::settled;
use crate::apply::{as_before, file, hasty};
use crate::common::{PEER, PORTS, Subject, listening};

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
        listening(1)
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

/// Gives the peer a device for each of these VLANs, with the address 10.78.VLAN.1.
fn tagged_peer(subject: &Subject, vlans: &[u16]) {
    for vlan in vlans {
        for words in [
            format!("link add link peer0 name vlan{vlan} type vlan id {vlan}"),
            format!("link set vlan{vlan} up"),
            format!("address add 10.78.{vlan}.1/24 dev vlan{vlan}"),
        ] {
            subject.rig.peer.ip(&words).unwrap();
        }
    }
}

/// Applies a file, and again, which changes nothing; the peer answers from each address, also over the other port and
/// with another daemon.
fn applied(subject: &mut Subject, file: &std::path::Path, answers: &[&str]) -> String {
    let apply = format!("apply {}", file.display());
    let said = subject.must(&apply);
    subject.wait_peer(answers).unwrap();
    assert_eq!(subject.must(&apply).trim(), "nothing to change");
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", PORTS[1]).unwrap();
    subject.wait_peer(answers).unwrap();
    subject.rig.restore(0).unwrap();
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    assert_eq!(subject.must(&apply).trim(), "nothing to change");
    subject.wait_peer(answers).unwrap();
    said
}

#[test]
fn inside_a_vlan_aware_bridge_is_applied_as_its_guides_say() {
    let mut subject = hasty();
    let before = settled(&subject);
    tagged_peer(&subject, &[5, 6]);
    let interfaces = |vids: &str| {
        format!(
            "auto bond0\niface bond0 inet manual\n    bond-slaves enp3s0 enp4s0\n    bond-miimon 100\n    bond-mode \
             active-backup\n    bond-primary enp3s0\n\nauto vmbr0\niface vmbr0 inet static\n    address 10.77.0.2/24\n    \
             bridge-ports bond0\n    bridge-stp off\n    bridge-fd 0\n    bridge-vlan-aware yes\n    bridge-vids {vids}\n\n\
             auto vmbr0.5\niface vmbr0.5 inet static\n    address 10.78.5.2/24\n"
        )
    };
    let all = file(&subject, "interfaces", &interfaces("2-4094"));
    let said = applied(&mut subject, &all, &[PEER[0], "10.78.5.1"]);
    for mention in [
        "vmbr0: VLAN filtering is on",
        "bond0: lets through VLANs 2-4094",
        "vmbr0.5: VLAN device with id 5 on vmbr0 created",
        "vmbr0: lets through VLAN 5",
    ] {
        assert!(said.contains(mention), "{mention}: {said}");
    }
    let few = file(&subject, "few/interfaces", &interfaces("5-6"));
    let said = subject.must(&format!("apply {}", few.display()));
    assert_eq!(
        said.trim(),
        "bond0: no longer lets through VLANs 2-4\nbond0: no longer lets through VLANs 7-4094"
    );
    subject.wait_peer(&[PEER[0], "10.78.5.1"]).unwrap();
    // What goes wrong goes back, VLANs too.
    let tried = file(&subject, "tried/interfaces", &interfaces("100"));
    let said = subject
        .oxbond(&format!("try --timeout 1 {}", tried.display()))
        .unwrap();
    assert_eq!(said.status.code(), Some(3));
    let plan = subject.oxbond(&format!("plan {}", few.display())).unwrap();
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    subject.wait_peer(&[PEER[0], "10.78.5.1"]).unwrap();
    let none = file(&subject, "interfaces", "auto lo\niface lo inet loopback\n");
    subject.must(&format!("apply {}", none.display()));
    as_before(&subject, &before);

    // Where another tool had all this without a bond, the port gets its place in the bridge back, with its VLANs.
    let host = subject.host();
    for words in [
        "link add vmbr0 type bridge vlan_filtering 1 stp_state 0 forward_delay 0",
        "link set enp3s0 master vmbr0",
        "link set vmbr0 up",
        "address add 10.77.0.2/24 dev vmbr0",
    ] {
        host.ip(words).unwrap();
    }
    host.execute("bridge", "vlan add dev enp3s0 vid 5-7")
        .unwrap();
    host.execute("bridge", "vlan add dev enp3s0 vid 9 untagged")
        .unwrap();
    let vlans = || host.execute("bridge", "vlan show dev enp3s0").unwrap();
    let before = vlans();
    assert!(before.contains("9 Egress Untagged"), "{before}");
    let said = subject
        .oxbond(&format!("try --timeout 1 {}", few.display()))
        .unwrap();
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    assert_eq!(vlans(), before);
    subject.wait_peer(&PEER[..1]).unwrap();
}

#[test]
fn inside_vlans_on_a_bond_and_a_bridge_on_a_vlan_are_applied() {
    let mut subject = hasty();
    let before = settled(&subject);
    tagged_peer(&subject, &[5, 6]);
    let text = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\", \"enp4s0\"]\nprimary = \"enp3s0\"\naddress = \
                [\"10.77.0.2/24\"]\n[vlan.\"bond0.5\"]\nid = 5\nlink = \"bond0\"\naddress = [\"10.78.5.2/24\"]\nmtu = 1400\n\
                [vlan.\"bond0.6\"]\nid = 6\nlink = \"bond0\"\n[bridge.vmbr6]\nports = [\"bond0.6\"]\naddress = \
                [\"10.78.6.2/24\"]\n";
    let toml = file(&subject, "bond0.toml", text);
    applied(&mut subject, &toml, &[PEER[0], "10.78.5.1", "10.78.6.1"]);
    // Another id under the same name: the device is made anew, and back by a trial's end.
    let other = file(&subject, "tried.toml", &text.replace("id = 5", "id = 7"));
    let said = subject
        .oxbond(&format!("try --timeout 1 {}", other.display()))
        .unwrap();
    assert_eq!(said.status.code(), Some(3));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("bond0.5: VLAN device with id 7 on bond0 created"),
        "{said}"
    );
    let plan = subject.oxbond(&format!("plan {}", toml.display())).unwrap();
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    subject
        .wait_peer(&[PEER[0], "10.78.5.1", "10.78.6.1"])
        .unwrap();
    let none = file(&subject, "bond0.toml", "");
    subject.must(&format!("apply {}", none.display()));
    as_before(&subject, &before);
}
