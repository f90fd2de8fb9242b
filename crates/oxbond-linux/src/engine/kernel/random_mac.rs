//! Whether the kernel made an interface's address up. Only sysfs tells (`addr_assign_type`), which shows the network
//! namespace that it was mounted in.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};

use oxbond_wire::MacAddr;
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// `NET_ADDR_RANDOM`.
const RANDOM: &str = "1";

/// Tells of the interfaces of the calling thread's network namespace.
#[derive(Debug, Default)]
pub(super) struct RandomMacs {
    /// A sysfs of our own namespace, mounted nowhere; `Some(None)` once it has been refused.
    own: Option<Option<OwnedFd>>,
}

impl RandomMacs {
    /// The kernel made this address of this interface up, and nobody has set it since. `false` where nothing tells.
    pub(super) fn is_random(&mut self, name: &str, mac: MacAddr) -> bool {
        // What is made up by the kernel is local and no group's.
        if mac.octets()[0] & 3 != 2 {
            return false;
        }
        let path = |file: &str| format!("class/net/{name}/{file}");
        let mounted = |file: &str| fs::read_to_string(format!("/sys/{}", path(file))).ok();
        // Another namespace's interface of this name has another address.
        if mounted("address").is_some_and(|address| address.trim().parse() == Ok(mac)) {
            return mounted("addr_assign_type").is_some_and(|kind| kind.trim() == RANDOM);
        }
        let own = self
            .own
            .get_or_insert_with(|| sysfs_of_this_namespace().ok());
        let kind = own.as_ref().and_then(|sysfs| {
            let path = path("addr_assign_type");
            let file = openat(
                sysfs.as_fd(),
                path,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            );
            std::io::read_to_string(fs::File::from(file.ok()?)).ok()
        });
        kind.is_some_and(|kind| kind.trim() == RANDOM)
    }
}

/// Needs CAP_SYS_ADMIN, and Linux 5.2.
fn sysfs_of_this_namespace() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Netlink;
    use crate::test_support::in_fresh_namespaces;

    /// The sysfs of the machine shows another namespace here.
    #[test]
    fn root_an_address_that_was_set_is_told_from_one_made_up() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let mut macs = RandomMacs::default();
            let p0 = nl.link("p0").unwrap().unwrap();
            assert!(macs.is_random("p0", p0.mac.unwrap()));
            let set = MacAddr([2, 0, 0, 0, 0, 9]);
            nl.set_mac(p0.index, set).unwrap();
            assert!(!macs.is_random("p0", set));
            assert!(!macs.is_random("none", set));
        });
    }
}
