# PID 1 of the namespace in which a Debian boots: the parent of its machine's systemd. It runs in fresh mount and pid
# namespaces, and lives for as long as its standard input stays open; when it ends, so does everything below it.
#
# Arguments: the root, a directory for what is written, the name of the machine and of its network namespace.
set -eu
rootfs=$1 work=$2 name=$3

mount -t proc proc /proc
# systemd wants the unified hierarchy, and a group of its own in it.
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$name"
echo 0 >"/sys/fs/cgroup/$name/cgroup.procs"
# What systemd-nspawn keeps here is this machine's.
mount -t tmpfs -o mode=0755 run /run/systemd
mkdir -p "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"

# 133 is how systemd-nspawn ends when the machine asks for a reboot.
boot() {
    status=133
    while [ "$status" -eq 133 ]; do
        status=0
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn -q -D "$work/root" --register=no --keep-unit \
            --machine="$name" --network-namespace-path="/run/netns/$name" --console=pipe -b \
            </dev/null >>"$work/console" 2>&1 || status=$?
    done
    echo "ended with status $status" >>"$work/console"
}
boot &

while read -r _; do :; done
