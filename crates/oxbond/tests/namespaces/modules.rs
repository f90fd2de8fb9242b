//! The driver's module, as a machine may have it: hidden, refused, loaded on demand, with a bond of its own making. In one
//! user-mode Linux, and there in its own first network namespace: only that one gets the module's own bond.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_lab::uml::Uml;

/// Each `say` is a command whose words and exit code are looked at outside.
const SCRIPT: &str = r#"
export OXBOND_RUN_DIR=/run/oxbond-test
say() {
    name=$1
    shift
    said=$("$@" 2>&1)
    echo "=== $name $?"
    echo "$said"
}
daemon() {
    [ -z "$daemon" ] || { kill -KILL $daemon; wait $daemon; }
    $OXBOND daemon --engine $1 2>/run/daemon.log &
    daemon=$!
    # Which, unlike status, needs a daemon.
    until $OXBOND rollback >/dev/null 2>&1; [ $? != 6 ]; do sleep 0.05; done
}
up() {
    $OXBOND up bond0 --mode active-backup --miimon 100 --port enp3s0 "$@"
}
kind() {
    ip -d link show "$1" | grep -q " $2 " && echo "$1 is $2"
}
modprobe=/run/modprobe
$modprobe veth
ip link add enp3s0 type veth peer name far
ip link set far up
cat >/run/bond0.toml <<END
[bond.bond0]
mode = "active-backup"
ports = ["enp3s0"]
END

daemon kernel
# No modules at all, as in a container.
mkdir /run/nothing
mount --bind /run/nothing /usr/lib/modules
say hidden up
say hidden-file $OXBOND apply /run/bond0.toml
umount /usr/lib/modules
# Modules of the kernel, and this one not among them.
mkdir -p /run/others/$(uname -r)
echo 'kernel/net/team/team.ko:' >/run/others/$(uname -r)/modules.dep
mount --bind /run/others /usr/lib/modules
say lacking up
umount /usr/lib/modules
# There, and not let in.
cp /run/modprobe.conf /run/modprobe.kept
echo 'install bonding /bin/false' >>/run/modprobe.conf
say refused up
say refused-again up
daemon auto
say refused-auto up
daemon kernel
say refused-loaded test -e /sys/module/bonding
mv /run/modprobe.kept /run/modprobe.conf
say untouched kind enp3s0 veth

# Loaded on demand, and with a bond0 of its own.
echo 'options bonding max_bonds=1' >/run/modprobe.conf
say on-demand up
say on-demand-kind kind bond0 bond
say on-demand-status $OXBOND status bond0
say on-demand-down $OXBOND down bond0
say on-demand-gone ip link show bond0
rmmod bonding
$modprobe bonding
say own kind bond0 bond
# It is found by its own name and no other.
ip link property add dev bond0 altname trunk0
say alias $OXBOND up trunk0 --port enp3s0
say alias-adopt $OXBOND adopt trunk0
say alias-status $OXBOND status trunk0
say alias-kept kind bond0 bond
ip link property del dev bond0 altname trunk0
# What is refused touches it not, and what fails later leaves one like it.
index=$(cat /sys/class/net/bond0/ifindex)
say own-refused up --port nosuch
say own-same test $index = "$(cat /sys/class/net/bond0/ifindex)"
say own-failed up --gateway 192.0.2.1
say own-failed-kind kind bond0 bond
(cat /run/bond0.toml; echo 'route = [{ to = "198.51.100.0/24", via = "192.0.2.1" }]') >/run/halfway.toml
say own-halfway $OXBOND apply /run/halfway.toml
say own-halfway-kind kind bond0 bond
say own-plan $OXBOND plan /run/bond0.toml
say own-file $OXBOND apply /run/bond0.toml
say own-again $OXBOND apply /run/bond0.toml
say own-master ip link show enp3s0
$OXBOND down bond0
# One that somebody uses is not the module's any more.
ip link add bond0 type bond mode 802.3ad
ip address add 192.0.2.1/24 dev bond0
say used up
say used-kept ip address show bond0
ip link del bond0

# Without the module, and no more modules until the machine boots.
kill -KILL $daemon
wait $daemon
daemon=
rmmod bonding
echo 1 >/proc/sys/kernel/modules_disabled
daemon auto
say shut up --engine kernel
say shut-auto up
"#;

/// What a command said, and its exit code.
struct Said(i32, String);

impl Said {
    /// Asserts the exit code, and that all of this was said.
    fn with(&self, code: i32, mentions: &[&str]) {
        let Self(had, text) = self;
        assert_eq!(*had, code, "{text}");
        for mention in mentions {
            assert!(text.contains(mention), "{mention}: {text}");
        }
    }
}

#[test]
fn guest_root_the_drivers_module_in_every_state() {
    let outcome = Uml::new()
        .timeout(Duration::from_secs(120))
        .env("OXBOND", env!("CARGO_BIN_EXE_oxbond"))
        .run(["bash", "-c", SCRIPT])
        .unwrap_or_else(|e| panic!("{e:#}"));
    let text = String::from_utf8_lossy(&outcome.stdout);
    println!("{text}{}", String::from_utf8_lossy(&outcome.stderr));
    let mut said = BTreeMap::new();
    for part in text.split("=== ").skip(1) {
        let (head, words) = part.split_once('\n').unwrap();
        let (name, code) = head.split_once(' ').unwrap();
        said.insert(name, Said(code.parse().unwrap(), words.trim().to_owned()));
    }
    let of = |name: &str| said.get(name).unwrap_or_else(|| panic!("{name}: {text}"));

    let release = "6.1";
    of("hidden").with(
        5,
        &[
            "no modules of this kernel",
            release,
            "modprobe bonding",
            "--engine ebpf",
        ],
    );
    of("hidden-file").with(5, &["no modules of this kernel"]);
    of("lacking").with(
        5,
        &["has no module \"bonding\"", "install", "--engine ebpf"],
    );
    for again in ["refused", "refused-again"] {
        of(again).with(5, &["modprobe bonding", "modprobe.d", "--engine ebpf"]);
    }
    // Where no engine was asked for, ours is tried, which this kernel cannot carry.
    of("refused-auto").with(
        5,
        &["the ebpf engine needs", "did not load its bonding driver"],
    );
    of("refused-loaded").with(1, &[]);
    of("untouched").with(0, &[]);

    of("on-demand").with(0, &["bond0: created with enp3s0 on the kernel's driver"]);
    of("on-demand-kind").with(0, &[]);
    of("on-demand-status").with(0, &["enp3s0"]);
    of("on-demand-down").with(0, &[]);
    of("on-demand-gone").with(1, &[]);
    of("own").with(0, &[]);
    of("alias").with(3, &["trunk0 is in use", "another name of bond0"]);
    for alias in ["alias-adopt", "alias-status"] {
        of(alias).with(3, &["there is no bond trunk0"]);
    }
    of("alias-kept").with(0, &[]);
    of("own-refused").with(3, &["nosuch"]);
    of("own-same").with(0, &[]);
    of("own-failed").with(5, &[]);
    of("own-failed-kind").with(0, &[]);
    of("own-halfway").with(5, &["192.0.2.1"]);
    of("own-halfway-kind").with(0, &[]);
    of("own-plan").with(7, &["bond0"]);
    of("own-file").with(0, &["bond0"]);
    of("own-again").with(0, &["nothing to change"]);
    of("own-master").with(0, &["master bond0"]);
    of("used").with(3, &["bond0", "oxbond adopt bond0"]);
    of("used-kept").with(0, &["192.0.2.1/24"]);

    of("shut").with(5, &["kernel.modules_disabled", "--engine ebpf"]);
    of("shut-auto").with(5, &["kernel.modules_disabled", "the ebpf engine needs"]);
}
