#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# First program of the guest: its root is read-only; what is written goes to the second disk, which outlives a reboot and is new for each run. The folder
# that the host shares appears as /host.
set -e
mount -n -t proc proc /proc
share=$(sed -n 's/.*fdld\.share=\([^ ]*\).*/\1/p' /proc/cmdline)
mount -n -t ext4 /dev/ubdb /mnt
mkdir -p /mnt/upper /mnt/work /mnt/root
mount -n -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mkdir -p /mnt/root/host
mount -n -t hostfs none -o "$share" /mnt/root/host
umount -n /proc
cd /mnt/root
pivot_root . mnt
exec chroot . /sbin/init
