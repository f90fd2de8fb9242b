#!/bin/sh
# Process 1 of a user-mode Linux, on the host's root, read-only: makes what a job needs to run, runs the one beside this
# file and leaves its output and exit code there.

work=$(dirname "$0")
here=/run/oxbond-guest
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p "$here" /run/tmp /run/lock
# The only place where something written is seen outside.
mount -t hostfs none "$here" -o "$work"
mkdir -p /run/modules/lib/modules
ln -s "$(cat "$here/modules")" "/run/modules/lib/modules/$(uname -r)"
echo 'options bonding max_bonds=0' >/run/modprobe.conf
{
    echo '#!/bin/sh'
    echo 'exec /sbin/modprobe -d /run/modules -C /run/modprobe.conf "$@"'
} >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
# As on a machine whose own kernel this is: its modules are where programs look for them, and IPv6 is there.
/run/modprobe overlay
mkdir /run/lib /run/lib.work
mount -t overlay -o lowerdir=/usr/lib,upperdir=/run/lib,workdir=/run/lib.work overlay /usr/lib
mkdir -p /usr/lib/modules
ln -s "/run/modules/lib/modules/$(uname -r)" "/usr/lib/modules/$(uname -r)"
/run/modprobe ipv6

ip link set lo up
setsid /bin/sh "$here/job" </dev/null >"$here/out" 2>"$here/err"
echo "exit $?" >"$here/exit"
sync
busybox poweroff -f
