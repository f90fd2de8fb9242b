#!/usr/bin/env bash
# Unpacks the configuration dialects' own tools into two private roots, where tests run them by chroot. Nothing is
# installed: as packages of this machine they would bring services and change /etc. Quick when they are there.
#
#   /var/cache/oxbond-judges/tools      netplan, nmcli, ifupdown2, systemd, kmod, cloud-init
#   /var/cache/oxbond-judges/ifupdown   the classic ifupdown with ifenslave, which excludes ifupdown2
#
# They stay the versions they are until this script changes or the directory is removed.
set -euo pipefail

home=/var/cache/oxbond-judges
below=(bash dash coreutils findutils util-linux mount libc-bin sed grep gawk iproute2)
tools=("${below[@]}" netplan.io network-manager ifupdown2 systemd strace kmod cloud-init)
ifupdown=("${below[@]}" ifupdown ifenslave)

if [ "$(id -u)" != 0 ]; then
    echo "judges.sh: not root: run it as root, as the tests that use these tools are" >&2
    exit 1
fi
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
stamp=$(sha256sum <"$0")
[ "$(cat "$home/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

log=$home/log
: >"$log"
fail() {
    cat "$log" >&2
    echo "judges.sh: $1; the words above say why" >&2
    exit 1
}

# As if nothing were installed, so that everything below the tools comes along.
: >"$home/status"
fetch() {
    apt-get -q -y --no-install-recommends --download-only -o APT::Install-Suggests=false \
        -o Dir::State::Status="$home/status" -o Dir::Cache::Archives="$1/" -o Debug::NoLocking=true \
        -o APT::Sandbox::User=root install "${@:2}" >>"$log" 2>&1
}

# root NAME PACKAGE...
root() {
    local root=$home/$1 packages=$home/packages
    rm -rf "$root" "$packages"
    mkdir -p "$packages/partial" "$root"/usr/{bin,sbin,lib,lib32,lib64,libx32} "$root"/{proc,sys,dev,run,tmp,work}
    # Packages of a merged /usr still name the old places.
    for old in bin sbin lib lib32 lib64 libx32; do
        ln -s "usr/$old" "$root/$old"
    done
    fetch "$packages" "${@:2}" || { apt-get -q update >>"$log" 2>&1 && fetch "$packages" "${@:2}"; } ||
        fail "cannot fetch ${*:2}"
    for package in "$packages"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
            --exclude=./usr/share/{doc,locale,man,info} >>"$log" 2>&1 || fail "cannot unpack ${package##*/}"
    done
    rm -r "$packages"
}

echo "unpacking the dialects' own tools into $home"
root ifupdown "${ifupdown[@]}"
root tools "${tools[@]}"
# What their installation scripts would have done.
for root in "$home/tools" "$home/ifupdown"; do
    printf 'root:x:0:0::/:/bin/sh\nsystemd-network:x:998:998::/:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\nsystemd-network:x:998:\n' >"$root/etc/group"
    mknod -m 666 "$root/dev/null" c 1 3
    mknod -m 666 "$root/dev/urandom" c 1 9
    ln -sf gawk "$root/usr/bin/awk"
done
echo 0123456789abcdef0123456789abcdef >"$home/tools/etc/machine-id"
chmod +x "$home/tools/usr/share/ifupdown2/__main__.py"
chroot "$home/tools" /usr/bin/python3 -m compileall -q /usr/share/ifupdown2 /usr/lib/python3 >>"$log" 2>&1 || true
echo "$stamp" >"$home/stamp"
