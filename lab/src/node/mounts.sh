# The node's view of the machine, made in a mount namespace of its own: folders that a node writes to by fixed names are the lab's.
# The mounts end with the namespace, so nothing has to be undone, and what the node keeps in /run is gone as after a reboot.
# Arguments: the lab's folder, the folder of builds, and the program that keeps the namespace.
set -eu
state=$1 builds=$2 keeper=$3

# Copies of other labs' network namespaces would keep those alive after their end.
awk '$5 ~ "^/run/netns(/|$)" {print $5}' /proc/self/mountinfo | sort -r | while read -r mounted; do umount -l "$mounted"; done

# Both folders may lie below one that is about to be covered.
mount -t tmpfs lab /mnt
mkdir /mnt/state /mnt/builds
mount --bind "$state" /mnt/state
mount --bind "$builds" /mnt/builds
own=/mnt/state/node # by this name it stays in reach

mkdir -p "$own/etc" "$own/etc-work" "$own/var-lib/kubelet" "$own/var-lib/cni" "$own/var-lib/nginx" "$own/var-log/nginx" "$own/kernel"
mount -t overlay lab-etc -o "lowerdir=/etc,upperdir=$own/etc,workdir=$own/etc-work" /etc
mkdir -p /etc/nginx /etc/ingress-controller/ssl /etc/ingress-controller/auth /etc/ingress-controller/geoip /etc/ingress-controller/telemetry
mount --bind "$own/nginx" /etc/nginx
mount -t tmpfs -o mode=755 lab-run /run
mkdir -p /run/netns /run/lock
mount -t tmpfs -o mode=1777 lab-tmp /tmp
mkdir -p /tmp/nginx
mount --bind "$own/var-lib" /var/lib
mount --bind "$own/var-log" /var/log
for folder in state builds; do
  eval "place=\$$folder"
  mkdir -p "$place"
  mount --bind "/mnt/$folder" "$place"
done

# The kubelet sets these for the whole machine. It finds them as it wants them and leaves the machine's own alone.
set_for_node() {
  echo "$2" >"$own/kernel/$(echo "$1" | tr / -)"
  mount --bind "$own/kernel/$(echo "$1" | tr / -)" "/proc/sys/$1"
}
set_for_node vm/overcommit_memory 1
set_for_node vm/panic_on_oom 0
set_for_node kernel/panic 10
set_for_node kernel/panic_on_oops 1
set_for_node kernel/keys/root_maxkeys 1000000
set_for_node kernel/keys/root_maxbytes 25000000

mount --make-rshared /
exec "$keeper" pause
