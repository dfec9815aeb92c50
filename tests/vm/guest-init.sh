#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# First program of the guest: its root is read-only; what is written goes to the second disk, which outlives a reboot and is new for each run. The folder
# that the host shares appears as /host. User-Mode-Linux is told where that is on the host, and has everything in its kernel; QEMU gives it a name.
set -e
mount -n -t proc proc /proc
share=$(sed -n 's/.*fdld\.share=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ -n "$share" ]; then
        mount -n -t ext4 /dev/ubdb /mnt
else
        modprobe -a overlay 9pnet_virtio 9p vhci-hcd
        mount -n -t ext4 /dev/vdb /mnt
fi
mkdir -p /mnt/upper /mnt/work /mnt/root
mount -n -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mkdir -p /mnt/root/host
if [ -n "$share" ]; then
        mount -n -t hostfs none -o "$share" /mnt/root/host
else
        mount -n -t 9p -o trans=virtio,version=9p2000.L,cache=mmap,msize=262144 host /mnt/root/host
fi
umount -n /proc
cd /mnt/root
pivot_root . mnt
exec chroot . /sbin/init
