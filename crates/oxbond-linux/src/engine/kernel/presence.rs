//! Whether this machine has the driver: asked without touching anything, by anybody.

use std::fs;
use std::path::Path;

/// Whether bonds of the driver can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The driver is in the kernel.
    Loaded,
    /// Its module is installed: the kernel loads it when the first bond is made.
    Loadable,
    /// Neither.
    Missing {
        /// Why.
        why: String,
        /// What to do about it.
        way_out: String,
    },
}

/// Looks for the driver.
pub fn presence() -> Presence {
    // The former for each network namespace, the latter where /sys is mounted; both also when it is built in.
    let loaded = ["/proc/thread-self/net/bonding", "/sys/module/bonding"]
        .iter()
        .any(|path| Path::new(path).exists());
    if loaded {
        return Presence::Loaded;
    }
    let is_zero = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    if Path::new("/proc/sys/kernel/modules_disabled").exists()
        && !is_zero("/proc/sys/kernel/modules_disabled")
    {
        return Presence::Missing {
            why: "this kernel loads no more modules (kernel.modules_disabled is set)".to_owned(),
            way_out: "boot it anew".to_owned(),
        };
    }
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    installed(Path::new("/lib/modules"), &release)
}

/// Whether the module of this release is installed below `root`.
fn installed(root: &Path, release: &str) -> Presence {
    let directory = root.join(release);
    // Each line begins with the module's path: `kernel/drivers/net/bonding/bonding.ko.xz: ...`.
    let listed = |file: &str| {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines().any(|line| {
            let path = line.split(':').next().unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default();
            name.split_once(".ko")
                .is_some_and(|(stem, _)| stem == "bonding")
        })
    };
    if listed("modules.builtin") {
        return Presence::Loaded;
    }
    if listed("modules.dep") {
        return Presence::Loadable;
    }
    let directory = directory.display();
    let (why, way_out) = if root.join(release).join("modules.dep").exists() {
        (
            format!("this kernel ({release}) has no module \"bonding\" in {directory}"),
            "install the package with its modules",
        )
    } else {
        (
            format!("it is not loaded, and there are no modules of this kernel in {directory}"),
            "in a container, load it outside (modprobe bonding)",
        )
    };
    Presence::Missing {
        why,
        way_out: way_out.to_owned(),
    }
}

/// Release of the running kernel, major and minor, to compare with
/// [`OptionSpec::since`](oxbond_core::option::OptionSpec::since). Distributions port options back, so an older one may have
/// more. `None` for a release that does not begin with two numbers.
pub fn release() -> Option<(u8, u8)> {
    release_of(&rustix::system::uname().release().to_string_lossy())
}

fn release_of(text: &str) -> Option<(u8, u8)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TempDir;

    #[test]
    fn releases_are_compared_by_their_first_two_numbers() {
        assert_eq!(release_of("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(release_of("6.18"), Some((6, 18)));
        assert_eq!(release_of("7.2-rc1"), Some((7, 2)));
        assert_eq!(release_of("unknown"), None);
        assert_eq!(release_of(""), None);
        assert!(release().is_some_and(|release| release > (4, 0)));
    }

    #[test]
    fn a_module_is_found_by_its_name_alone() {
        let root = TempDir::new();
        let modules = root.path().join("6.1.0");
        let said = || installed(root.path(), "6.1.0");
        assert!(
            matches!(said(), Presence::Missing { why, .. } if why.contains("no modules of this kernel"))
        );
        fs::create_dir(&modules).unwrap();
        fs::write(
            modules.join("modules.dep"),
            "kernel/net/team/team.ko:\nkernel/x/mybonding.ko:\nkernel/x/bonding2.ko:\n",
        )
        .unwrap();
        assert!(
            matches!(said(), Presence::Missing { why, .. } if why.contains("has no module \"bonding\""))
        );
        let line = "kernel/drivers/net/bonding/bonding.ko.xz: kernel/net/tls/tls.ko.xz\n";
        fs::write(modules.join("modules.dep"), line).unwrap();
        assert_eq!(said(), Presence::Loadable);
        fs::write(
            modules.join("modules.builtin"),
            "kernel/drivers/net/bonding/bonding.ko\n",
        )
        .unwrap();
        assert_eq!(said(), Presence::Loaded);
    }
}
