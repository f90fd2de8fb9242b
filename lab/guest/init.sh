#!/bin/busybox sh
# First program of the guest, from the initramfs: loads what the root needs, lays a writable overlay over the host's
# read-only root and hands over to run.sh in it. Whatever fails is said on the console, which the harness shows.

die() {
    echo "oxbond-guest: $*" >/dev/ttyS0
    busybox poweroff -f
}

busybox mkdir -p /proc /sys /dev /lower /upper /new
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
while read -r module; do
    busybox insmod "/modules/$module" || die "cannot load $module"
done </modules/order

# The three ports appear when the console driver has talked with QEMU.
tries=0
for name in out err exit; do
    until port=$(busybox grep -lx "oxbond.$name" /sys/class/virtio-ports/*/name 2>/dev/null); do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || die "no virtio port oxbond.$name"
        busybox sleep 0.05
    done
    port=${port%/name}
    eval "$name=/dev/${port##*/}"
done

job=
for word in $(busybox cat /proc/cmdline); do
    case $word in
    oxbond.job=*) job=${word#*=} ;;
    oxbond.probe)
        echo "exit 0" >"$exit"
        busybox poweroff -f
        ;;
    esac
done

busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /lower || die "no host root over 9p"
busybox mount -t tmpfs -o size=75% upper /upper
busybox mkdir /upper/files /upper/work
busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /new || die "no overlay"

version=$(busybox uname -r)
busybox mkdir -p "/new/lib/modules/$version"
busybox mount -o bind "/new/@CACHE@/lib/modules/$version" "/new/lib/modules/$version" || die "no modules of $version"
for at in proc sys dev; do
    busybox umount "/new/$at" 2>/dev/null
    busybox mkdir -p "/new/$at"
    busybox mount -o move "/$at" "/new/$at"
done
busybox mkdir -p /new/dev/pts /new/dev/shm
busybox mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
busybox mount -t tmpfs -o mode=1777 shm /new/dev/shm
busybox mount -t tmpfs -o mode=755 run /new/run
busybox mount -t bpf bpf /new/sys/fs/bpf
busybox mount -t tracefs tracefs /new/sys/kernel/tracing
busybox mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
busybox mkdir -p /new/run/oxbond-guest /new/run/lock
busybox mkdir -m 1777 /new/run/tmp
busybox cp /bin/busybox /run.sh /new/run/oxbond-guest/
busybox hostname oxbond-guest
exec busybox switch_root /new /run/oxbond-guest/busybox sh /run/oxbond-guest/run.sh "$job" "$out" "$err" "$exit"
