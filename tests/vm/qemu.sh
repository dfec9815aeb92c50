# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034 # vm.sh, which includes this, has the other half of these
# QEMU, where User-Mode-Linux does not run: a whole machine with Debian's own kernel, by KVM where that may be used, else slowly in software. It
# cannot let time pass faster.

qemu_guest=''

# What the kernel needs to come as far as to its root; all else is loaded from there.
qemu_modules=(virtio_pci virtio_blk squashfs)

# make_machine DIR: kernel, initrd and system
make_machine() {
        local modules
        modules=$(printf '%s\\n' "${qemu_modules[@]}")
        rm -rf "$1"
        mkdir -p "$1"
        # shellcheck disable=SC2016 # for the shell of the hook
        make_system "$1/system.squashfs" --include=linux-image-amd64,initramfs-tools,kmod,zstd \
                --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/gpu/*' --dpkgopt='path-exclude=/lib/modules/*/kernel/sound/*' \
                --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/media/*' --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/net/*' \
                --customize-hook="printf '$modules' >>\"\$1/etc/initramfs-tools/modules\"" \
                --customize-hook='sed -i s/^MODULES=.*/MODULES=list/ "$1/etc/initramfs-tools/initramfs.conf"' \
                --customize-hook='chroot "$1" update-initramfs -u' \
                --customize-hook='mv "$1"/boot/vmlinuz-* "$1/boot/vmlinuz"' --customize-hook='mv "$1"/boot/initrd.img-* "$1/boot/initrd"' \
                --customize-hook="download /boot/vmlinuz $1/vmlinuz" --customize-hook="download /boot/initrd $1/initrd" \
                --customize-hook='rm "$1/boot/vmlinuz" "$1/boot/initrd"'
}

# As uml_possible
qemu_possible() {
        [ "$(uname -m)" = x86_64 ] || { why="the guest is a system for x86-64"; return 1; }
        has_tools qemu-system-x86_64
}

qemu_make() {
        qemu_guest=$cache/qemu-$(key "${guest_packages[@]}" < <(cat "${guest_files[@]}" "$here/qemu.sh"))
        keep "$qemu_guest" make_machine
}

# As uml_starts
qemu_starts() {
        qemu_with 300 panic=-1 -no-reboot >"$work/console" || true
        grep -q 'not syncing\|No root device' "$work/console" || { why="QEMU does not run here: $(tail -n 1 "$work/console")"; return 1; }
}

# qemu_with SECONDS "KERNEL OPTIONS" [QEMU OPTION…]
qemu_with() {
        local seconds=$1 append=$2
        shift 2
        timeout -k 5 "$seconds" qemu-system-x86_64 -nodefaults -no-user-config -display none -serial stdio -machine pc -accel kvm -accel tcg \
                -cpu max -smp "$(nproc)" -m "$memory" -device virtio-rng-pci -kernel "$qemu_guest/vmlinuz" -initrd "$qemu_guest/initrd" \
                -append "console=ttyS0 quiet $append" "$@" </dev/null 2>&1
}

# qemu_run CHECK DISK: until the guest switches itself off
qemu_run() {
        qemu_with "$limit" "root=/dev/vda rootfstype=squashfs ro init=/sbin/fdld-vm-init fdld.check=$1 systemd.show_status=0" \
                -drive "file=$qemu_guest/system.squashfs,if=virtio,format=raw,readonly=on" -drive "file=$2,if=virtio,format=raw,cache=unsafe" \
                -virtfs "local,path=$share,mount_tag=host,security_model=none,multidevs=remap"
}
