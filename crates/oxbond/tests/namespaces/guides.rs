//! What the guides have people type or write, in the words of each tool: it goes through us as it is, gives a bond that
//! carries traffic and survives a cable, and wants nothing more when it is applied again.

use crate::common::{PEER, Subject};

/// Files as a guide has them, by name, applied with these words, `DIR` standing for where they are.
fn works(files: &[(&str, &str)], words: &str) {
    let subject = Subject::switched();
    let dir = subject.run_dir().join("guide");
    for (name, text) in files {
        let file = dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let words = words.replace("DIR", &dir.display().to_string());
    subject.must(&words);
    subject.wait_peer(&PEER[..1]).unwrap();
    let bond = subject.bond("bond0").unwrap();
    assert_eq!(bond["ports"].as_array().unwrap().len(), 2, "{bond}");
    let route = subject.host().ip("route show default").unwrap();
    assert!(route.contains("via 10.77.0.1"), "{route}");
    let again = subject.must(&words);
    assert_eq!(again.trim(), "nothing to change");
    subject.rig.cut(0).unwrap();
    subject.wait_link(0, "down");
    subject.wait_peer(&PEER[..1]).unwrap();
}

#[test]
fn root_networkd() {
    works(
        &[
            (
                "10-bond0.netdev",
                "[NetDev]\nName=bond0\nKind=bond\n\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\nPrimaryReselectPolicy=always\n",
            ),
            (
                "20-enp3s0.network",
                "[Match]\nName=enp3s0\n\n[Network]\nBond=bond0\nPrimarySlave=true\n",
            ),
            (
                "20-enp4s0.network",
                "[Match]\nName=enp4s0\n\n[Network]\nBond=bond0\n",
            ),
            (
                "30-bond0.network",
                "[Match]\nName=bond0\n\n[Network]\nAddress=10.77.0.2/24\nGateway=10.77.0.1\n",
            ),
        ],
        "apply --from networkd DIR",
    );
}

#[test]
fn root_netplan_apply() {
    works(
        &[(
            "etc/netplan/01-bond.yaml",
            "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    enp3s0: {}\n    enp4s0: {}\n  bonds:\n    bond0:\n      \
             interfaces: [enp3s0, enp4s0]\n      addresses: [10.77.0.2/24]\n      routes:\n        - to: default\n          \
             via: 10.77.0.1\n      parameters:\n        mode: active-backup\n        mii-monitor-interval: 100\n        \
             primary: enp3s0\n",
        )],
        "netplan apply --root-dir DIR",
    );
}

#[test]
fn root_proxmox_and_ifreload() {
    works(
        &[(
            "interfaces",
            "auto lo\niface lo inet loopback\n\niface enp3s0 inet manual\n\niface enp4s0 inet manual\n\nauto bond0\n\
             iface bond0 inet manual\n\tbond-slaves enp3s0 enp4s0\n\tbond-miimon 100\n\tbond-mode active-backup\n\t\
             bond-primary enp3s0\n\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.77.0.2/24\n\tgateway 10.77.0.1\n\t\
             bridge-ports bond0\n\tbridge-stp off\n\tbridge-fd 0\n",
        )],
        "ifreload -a -i DIR/interfaces",
    );
}

#[test]
fn root_debian_ifupdown() {
    works(
        &[(
            "interfaces",
            "auto bond0\niface bond0 inet static\n    address 10.77.0.2\n    netmask 255.255.255.0\n    gateway 10.77.0.1\n    \
             bond-slaves enp3s0 enp4s0\n    bond-mode balance-rr\n    bond-miimon 100\n",
        )],
        "apply --from ifupdown DIR/interfaces",
    );
}

#[test]
fn root_network_manager_keyfiles() {
    let port = |name: &str| {
        format!(
            "[connection]\nid=bond0-{name}\ntype=ethernet\ninterface-name={name}\ncontroller=bond0\nport-type=bond\n"
        )
    };
    works(
        &[
            (
                "bond0.nmconnection",
                "[connection]\nid=bond0\ntype=bond\ninterface-name=bond0\n\n[bond]\nmode=active-backup\nmiimon=100\nprimary=enp3s0\n\n\
                 [ipv4]\nmethod=manual\naddress1=10.77.0.2/24,10.77.0.1\n\n[ipv6]\nmethod=disabled\n",
            ),
            ("enp3s0.nmconnection", &port("enp3s0")),
            ("enp4s0.nmconnection", &port("enp4s0")),
        ],
        "apply --from nm DIR",
    );
}

#[test]
fn root_rhel_ifcfg() {
    let port = |name: &str| {
        format!(
            "DEVICE={name}\nTYPE=Ethernet\nONBOOT=yes\nBOOTPROTO=none\nMASTER=bond0\nSLAVE=yes\n"
        )
    };
    works(
        &[
            (
                "ifcfg-bond0",
                "DEVICE=bond0\nTYPE=Bond\nBONDING_MASTER=yes\nONBOOT=yes\nBOOTPROTO=none\nIPADDR=10.77.0.2\nPREFIX=24\n\
                 GATEWAY=10.77.0.1\nBONDING_OPTS=\"mode=1 miimon=100 primary=enp3s0\"\n",
            ),
            ("ifcfg-enp3s0", &port("enp3s0")),
            ("ifcfg-enp4s0", &port("enp4s0")),
        ],
        "apply --from ifcfg DIR",
    );
}

#[test]
fn root_ifcfg_with_modprobe_d() {
    let port = |name: &str| format!("DEVICE={name}\nONBOOT=yes\nMASTER=bond0\nSLAVE=yes\n");
    works(
        &[
            (
                "modprobe.d/bonding.conf",
                "alias bond0 bonding\noptions bond0 mode=balance-xor miimon=100\n",
            ),
            (
                "ifcfg-bond0",
                "DEVICE=bond0\nONBOOT=yes\nBOOTPROTO=static\nIPADDR=10.77.0.2\nNETMASK=255.255.255.0\nGATEWAY=10.77.0.1\n",
            ),
            ("ifcfg-enp3s0", &port("enp3s0")),
            ("ifcfg-enp4s0", &port("enp4s0")),
        ],
        "apply --from ifcfg DIR DIR/modprobe.d/bonding.conf",
    );
}

#[test]
fn root_iproute2_lines() {
    works(
        &[(
            "bond.sh",
            "#!/bin/sh\nip link add bond0 type bond mode active-backup miimon 100\nip link set enp3s0 down\nip link set enp4s0 down\n\
             ip link set enp3s0 master bond0\nip link set enp4s0 master bond0\nip link set bond0 type bond primary enp3s0\n\
             ip link set bond0 up\nip addr add 10.77.0.2/24 dev bond0\nip route add default via 10.77.0.1\n",
        )],
        "apply --from iproute2 DIR/bond.sh",
    );
}

#[test]
fn root_nmstate() {
    works(
        &[(
            "bond.yml",
            "interfaces:\n- name: bond0\n  type: bond\n  state: up\n  ipv4:\n    enabled: true\n    dhcp: false\n    address:\n    \
             - ip: 10.77.0.2\n      prefix-length: 24\n  link-aggregation:\n    mode: active-backup\n    options:\n      \
             miimon: \"100\"\n      primary: enp3s0\n    port:\n    - enp3s0\n    - enp4s0\nroutes:\n  config:\n  - destination: 0.0.0.0/0\n    \
             next-hop-address: 10.77.0.1\n    next-hop-interface: bond0\n",
        )],
        "apply --from nmstate DIR/bond.yml",
    );
}

#[test]
fn root_cloud_init() {
    works(
        &[(
            "network-config",
            "version: 1\nconfig:\n- type: physical\n  name: enp3s0\n- type: physical\n  name: enp4s0\n- type: bond\n  name: bond0\n  \
             bond_interfaces: [enp3s0, enp4s0]\n  params:\n    bond-mode: active-backup\n    bond-miimon: 100\n  subnets:\n  \
             - type: static\n    address: 10.77.0.2/24\n    gateway: 10.77.0.1\n",
        )],
        "apply --from cloud-init DIR/network-config",
    );
}

#[test]
fn root_nmcli_lines() {
    works(
        &[(
            "bond.nmcli",
            "nmcli con add type bond con-name bond0 ifname bond0 bond.options \"mode=active-backup,miimon=100,primary=enp3s0\"\n\
             nmcli con add type ethernet con-name bond0-port1 ifname enp3s0 master bond0\n\
             nmcli con add type ethernet slave-type bond con-name bond0-port2 ifname enp4s0 master bond0\n\
             nmcli con modify bond0 ipv4.addresses 10.77.0.2/24 ipv4.gateway 10.77.0.1 ipv4.method manual\nnmcli con up bond0\n",
        )],
        "apply --from nmcli DIR/bond.nmcli",
    );
}

#[test]
fn root_nmcli_typed_line_by_line() {
    let subject = Subject::switched();
    let lines = subject.run_dir().join("var/nmcli.lines");
    let saved = subject.run_dir().join("etc/oxbond.toml");
    let nmcli = |words: &[&str]| {
        let mut command = subject.command();
        command
            .args(["nmcli", "--lines"])
            .arg(&lines)
            .arg("--save")
            .arg(&saved)
            .args(words);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let must = |words: &[&str]| {
        let (code, said) = nmcli(words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
    };
    must(&[
        "con",
        "add",
        "type",
        "bond",
        "con-name",
        "bond0",
        "ifname",
        "bond0",
        "bond.options",
        "mode=active-backup,miimon=100",
    ]);
    must(&[
        "con", "add", "type", "ethernet", "con-name", "p1", "ifname", "enp3s0", "master", "bond0",
    ]);
    must(&[
        "con", "add", "type", "ethernet", "con-name", "p2", "ifname", "enp4s0", "master", "bond0",
    ]);
    must(&[
        "connection",
        "modify",
        "bond0",
        "ipv4.method",
        "manual",
        "ipv4.addresses",
        "10.77.0.2/24",
    ]);
    assert!(
        !subject
            .host()
            .ip("address show dev bond0")
            .unwrap()
            .contains("10.77.0.2")
    );
    must(&["con", "up", "bond0"]);
    subject.wait_peer(&PEER[..1]).unwrap();

    // A line that cannot be is not kept.
    let kept = std::fs::read_to_string(&lines).unwrap();
    let (code, said) = nmcli(&[
        "con", "add", "type", "ethernet", "con-name", "p3", "ifname", "lo", "master", "bond0",
    ]);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(nmcli(&["radio", "wifi", "off"]).0, Some(2));
    assert_eq!(std::fs::read_to_string(&lines).unwrap(), kept);
    // What is wrong with one is told of the file that a user knows.
    let said = nmcli(&["con", "modify", "bond0", "bond.options", "mode=9"]).1;
    assert!(said.contains("var/nmcli.lines:"), "{said}");

    // Lines that cannot be read are not written over.
    let unreadable = [kept.as_bytes(), b"# \xff\n"].concat();
    std::fs::write(&lines, &unreadable).unwrap();
    let (code, said) = nmcli(&["con", "up", "bond0"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(std::fs::read(&lines).unwrap(), unreadable);
    std::fs::write(&lines, kept).unwrap();

    // The boot: what was saved is there again.
    subject.must("down bond0");
    subject.must(&format!("apply {}", saved.display()));
    subject.wait_peer(&PEER[..1]).unwrap();
    must(&["con", "del", "p2"]);
    assert_eq!(
        subject.bond("bond0").unwrap()["expected"],
        serde_json::json!(["enp3s0"])
    );
}
