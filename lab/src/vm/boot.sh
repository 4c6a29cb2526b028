# First process of the dev-VM, in mount, pid, uts and ipc namespaces of its own. It builds a root file system of which only the
# programs are the host's (read-only), enters it and then does what an init does: it reaps orphans.
# boot.sh STATE CLAUDE LAB: the VM's folder, the folder with the CLI's binary, the lab's own binary (all on the host).
set -eu
state=$1 claude=$2 lab=$3
hostname dev-vm

mount -t tmpfs -o mode=755 dev-vm "$state/root"
cd "$state/root"
mkdir -p usr etc proc sys dev run/sshd tmp var/log var/lib var/cache var/tmp home/dev root opt/claude mnt .host
chmod 700 root && chmod 1777 tmp var/tmp && ln -s /run var/run && ln -s /run/lock var/lock

mount -o bind,ro /usr usr
for name in bin sbin lib lib32 lib64 libx32; do     # links into /usr on Debian 12, folders elsewhere
  if [ -L "/$name" ]; then cp -P "/$name" .
  elif [ -d "/$name" ]; then mkdir "$name" && mount -o bind,ro "/$name" "$name"; fi
done
mount -o bind,ro "$state/bin" usr/local/bin
mount -o bind,ro "$claude" opt/claude
: >opt/catalyst-lab && mount -o bind,ro "$lab" opt/catalyst-lab

cp -a /etc/. etc/                                    # settings of the programs, without what is the host's own
rm -rf etc/ssh etc/shadow* etc/gshadow* etc/passwd* etc/group* etc/sudoers* etc/sub?id* etc/kubernetes etc/ssl/private \
  etc/resolv.conf etc/hostname etc/hosts etc/environment etc/nologin
cp -a "$state/etc/." etc/

mount -t proc proc proc
mount --bind "$state/boot_id" proc/sys/kernel/random/boot_id
mount -t sysfs -o ro sys sys
mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom tty; do : >"dev/$node" && mount --bind "/dev/$node" "dev/$node"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 pts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx && ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin && ln -s fd/1 dev/stdout && ln -s fd/2 dev/stderr
mount --bind "$state/home" home/dev
mount --bind "$state/log" var/log

pivot_root . .host
umount -l /.host && rmdir /.host
: >/run/booted
# The state's path as last argument is what the lab knows this process by.
exec /bin/sh -c 'while :; do sleep 86400 & wait; done' dev-vm-init "$state"
