# PID 1 of a machine until systemd takes its place. Arguments: the machine's root, and a file for
# what systemd says before it has a journal. Runs in namespaces of its own, /proc still the old one.

root=$1 console=$2
# The first number is this process's own, as those outside see it.
read -r pid rest < /proc/self/stat
echo "$pid"

cd "$root"
mount -t proc proc proc
# Read-only, so that nothing here takes itself for the master of the kernel's devices.
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount --bind "$console" dev/console
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
pivot_root . .
umount -l .

# The name of what contains it, by which systemd knows what it can't do.
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=ipvs-testkit \
	/lib/systemd/systemd --unit=multi-user.target --log-target=console --show-status=no
