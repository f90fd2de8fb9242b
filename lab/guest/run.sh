# Process 1 of the guest once its root is in place: runs the job ($1), relays its output to two virtio ports ($2, $3),
# reports its exit code on a third ($4) and powers off.

here=/run/oxbond-guest
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
busybox=$here/busybox

# A port can be open once only; programs that open /dev/stdout again need a pipe.
relay() {
    $busybox mkfifo "$here/$1"
    {
        $busybox cat "$here/$1" >"$2"
        : >"$here/$1.done"
    } &
}
relay out "$2"
relay err "$3"

$busybox ip link set lo up
# By the host's shell: busybox's would take its own `ip` and `tc` for the host's.
$busybox setsid /bin/sh "$1" </dev/null >"$here/out" 2>"$here/err"
code=$?

# What the job left running holds the pipes open: it gets two seconds, then the power goes.
tries=0
until [ -e "$here/out.done" ] && [ -e "$here/err.done" ]; do
    tries=$((tries + 1))
    [ $tries -lt 40 ] || break
    $busybox sleep 0.05
done
echo "exit $code" >"$4"
$busybox poweroff -f
