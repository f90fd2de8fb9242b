#!/usr/bin/env bash
# Installs with apt what this project needs and the machine does not have yet. Touches nothing when all is there.
#
#   lab/install.sh demo    to build and to run the demo
#   lab/install.sh bench   that, and to measure
#   lab/install.sh test    all, for every test
set -euo pipefail

build=(gcc libc6-dev clang linux-libc-dev iproute2 iputils-ping)
# The guests are x86-64 machines; elsewhere they say so themselves.
guests=()
[ "$(uname -m)" != x86_64 ] || guests=(qemu-system-x86 busybox-static kmod xz-utils)
measure=(iperf3 "${guests[@]}")
observe=(ethtool tcpdump tshark)
# Servers to talk to; the package without the service.
serve=(dnsmasq-base)
# The kernel's own driver, to compare with.
compare=()
[ "$(uname -m)" != x86_64 ] || compare=(user-mode-linux kmod)

case ${1-} in
demo) wanted=("${build[@]}") ;;
bench) wanted=("${build[@]}" "${measure[@]}") ;;
test) wanted=("${build[@]}" "${measure[@]}" "${observe[@]}" "${serve[@]}" "${compare[@]}") ;;
*)
    echo "usage: $0 demo|bench|test" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "install.sh: this is no Debian or Ubuntu (no apt-get): install the equivalents of: ${wanted[*]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then
        as_root=(env)
    elif command -v sudo >/dev/null; then
        as_root=(sudo)
    else
        echo "install.sh: not root and no sudo: ask an administrator to run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    quietly() {
        "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >"$log" 2>&1 || {
            cat "$log" >&2
            echo "install.sh: 'apt-get $*' failed, its words are above; missing: ${missing[*]}" >&2
            exit 1
        }
    }
    echo "installing: ${missing[*]}"
    quietly update
    quietly install -y --no-install-recommends "${missing[@]}"
fi

# The dialects' own tools, which would change this machine if they were installed.
if [ "$1" = test ]; then
    if [ "$(id -u)" = 0 ]; then as_root=(env); else as_root=(sudo); fi
    "${as_root[@]}" "$(dirname "$0")/judges.sh"
fi

if ! command -v cargo >/dev/null; then
    echo "install.sh: there is no cargo: install Rust as its site says (rustup); Debian's own is too old" >&2
    exit 1
fi
