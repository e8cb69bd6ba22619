# PID 1 of a scratch host. It runs in fresh mount, net, pid, uts and ipc namespaces, builds a root of its own
# over the machine's, moves into it, and then lives for as long as its standard input stays open: when the
# program that made the host ends, however it ends, everything in the host ends with it.
#
# Arguments: pairs of a file or directory of the machine and the path under which the scratch host shows it.
set -eu

base=/media # any directory that exists: the mount is seen in this namespace alone
mount -t tmpfs -o mode=0755 scratch "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
root=$base/root

while [ $# -ge 2 ]; do
    mkdir -p "$root$(dirname "$2")"
    if [ -d "$1" ]; then
        mkdir -p "$root$2"
    else
        rm -f "$root$2"
        : >"$root$2"
    fi
    mount --bind "$1" "$root$2"
    shift 2
done

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=0755 dev "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# A disk of its own for the state, whose image shows what has reached it and nothing else.
if [ -n "${SCRATCH_DISK:-}" ]; then
    mkdir -p "$root/scratch-disk" "$root/var/lib/countersign"
    if [ "$SCRATCH_DISK" = new ]; then
        truncate -s "$SCRATCH_DISK_SIZE" "$root/scratch-disk/image"
        mkfs.ext4 -q -F "$root/scratch-disk/image"
    else
        cp "$SCRATCH_DISK" "$root/scratch-disk/image"
    fi
    mount -o loop "$root/scratch-disk/image" "$root/var/lib/countersign"
fi

cd "$root"
pivot_root . .
umount -l .
cd /
ip link set lo up
hostname scratch
echo ready

# Bash reaps the orphans it inherits while it waits here.
while read -r _; do :; done
