#!/bin/sh
# Process 1 of a root of Debian's programs: mounts what they expect, then runs the host's command or shells.
# A shell that waits takes orphans in too, so that no other init is needed.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
chmod 755 /
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid,mode=755 dev /dev
exec </dev/console >/dev/console 2>&1
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp
ln -sfn /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -sfn "fd/${number%:*}" "/dev/${number#*:}"; done
hostname -F /etc/hostname
ifconfig lo up
[ -x /etc/ironbark/exec ] && setsid -w /etc/ironbark/exec
cd /root || cd /
while :; do setsid -c -w bash -l; done
