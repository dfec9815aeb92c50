#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A whole Debian system, with the packages as users install them: systemd, udevd, the bus, polkit, and the kernel's own USB stack, in which the
# simulated devices appear (usbsim --kernel). It runs in User-Mode-Linux, and where that cannot run in QEMU; FDLD_VM_MACHINE=uml or qemu takes one of
# the two. Kernel and system are made once and kept in FDLD_VM_CACHE (default ~/.cache/fdld-vm).
#
# usage: FDLD_BUILD=DIR vm.sh [prepare | CHECK…]     prepare: only make kernel and system; CHECK: all, time-travel (default: both)
# Exit status: 0 all is well, 1 not, 77 no guest can run here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${FDLD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fdld-vm}
# Seconds that a check may take: some minutes, and much more where the machine is busy.
limit=${FDLD_VM_LIMIT:-900}
disk=3G memory=768M machine='' why=''

# shellcheck source=tests/e2e/units.sh
. "$top/tests/e2e/units.sh"
# shellcheck source=tests/vm/uml.sh
. "$here/uml.sh"
# shellcheck source=tests/vm/qemu.sh
. "$here/qemu.sh"

small=phone-emmc,size=64M,table=TABLE
# Slow ones: something happens while they are written.
units=("u0 $small,flash-rate=300k small" "u1 $small,flash-rate=300k small" "u2 $small small" "u3 $small,flash-rate=50k small"
        'emmc phone-emmc phone' 'ufs phone-ufs-ab phone-ab' 'old phone-old phone-old' 'lk phone-lk phone-lk' 'nand phone-nand phone-nand'
        'autod phone-emmc,autod phone' 'nor feature-nor feature' 'uis8910 uis8910,image-check=0 uis8910' 'uis8850 uis8850,image-check=0 uis8850')

skip() {
        echo "skipped: $*"
        exit 77
}

# key WORD… <TEXT: a name for what is made of these
key() { { echo "$*"; cat; } | sha256sum | cut -c1-16; }

# keep FILE COMMAND…: COMMAND makes a file beside it, which becomes FILE only when it is whole. Two at once: one makes it, one waits.
keep() {
        local file=$1
        shift
        mkdir -p "$cache"
        (
                flock 9
                [ ! -e "$file" ] || exit 0
                "$@" "$file.new" || exit 1
                mv "$file.new" "$file"
        ) 9>"$file.lock"
}

# ---- the system ----

guest_packages=(systemd systemd-sysv udev dbus polkitd modemmanager passwd usbutils procps
        libusb-1.0-0 libsqlite3-0 libexpat1 libssl3 libinih1 libjson-c5 libarchive13 libfuse3-3 libudev1 libsubunit0)
guest_files=("$here/guest-init.sh" "$here/fdld-vm.service")

# make_system FILE [OPTION OF MMDEBSTRAP…]
make_system() {
        local packages log file=$1
        shift
        packages=$(IFS=,; echo "${guest_packages[*]}")
        log=$(mktemp "${TMPDIR:-/tmp}/fdld-system.XXXXXX")
        echo "making a Debian system for the guest (a minute or two, once)"
        # shellcheck disable=SC2016 # for the shell of the hook
        mmdebstrap --variant=essential --include="$packages" --aptopt='APT::Install-Recommends "false"' \
                --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/fdld*' --dpkgopt='path-exclude=/usr/share/locale/*' \
                --customize-hook="upload $here/guest-init.sh /sbin/fdld-vm-init" --customize-hook='chmod 755 "$1/sbin/fdld-vm-init"' \
                --customize-hook="upload $here/fdld-vm.service /etc/systemd/system/fdld-vm.service" \
                --customize-hook='chroot "$1" systemctl -q enable fdld-vm.service' \
                --customize-hook='chroot "$1" systemctl -q disable getty@tty1.service systemd-timesyncd.service 2>/dev/null || true' \
                "$@" bookworm - 2>"$log" | tar2sqfs -q -f -c gzip "$file" 2>>"$log" || { tail -n 30 "$log"; rm -f "$log"; return 1; }
        rm -f "$log"
}

# has_tools NAME…; `why` names the first that is missing.
has_tools() {
        local tool
        for tool; do
                PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || { why="$tool is not installed"; return 1; }
        done
}

# ---- the guest ----

# make_package NAME: large images show nothing here that small ones do not.
make_package() {
        local id sizes=()
        case $1 in
        phone-ab | phone-lk) sizes=(BOOT Vendor_boot Super Modem_NR DSP_NR_HL) ;;
        phone) sizes=(BOOT Recovery System Modem_LTE) ;;
        phone-old) sizes=(BOOT Recovery System Modem_W) ;;
        phone-nand) sizes=(BOOT Recovery System Modem_LTE) ;;
        esac
        for id in "${!sizes[@]}"; do sizes[id]=--size=${sizes[id]}=256K; done
        "$FDLD_BUILD/pacmaker" "$1" "$share/pac/$1.pac" "${sizes[@]}" >/dev/null
}

fill_share() {
        local name
        mkdir -p "$share/bin" "$share/pac"
        cp "$here/guest.sh" "$here/guest-lib.sh" "$share/"
        cp "$FDLD_BUILD/usbsim" "$share/bin/"
        for name in $(printf '%s\n' "${units[@]}" | cut -d' ' -f3 | grep -v small | sort -u); do make_package "$name"; done
        make_small_package "$share/pac/small.pac" >/dev/null
        small_table >"$share/pac/small.table"
        printf '%s\n' "${units[@]}" | sed 's#TABLE#/host/pac/small.table#' >"$share/units"
        "$top/tests/packages/build.sh" "$share/debs" || exit $?
        "$top/tests/packages/upgrade.sh" "$share/debs" "$share/debs/upgrade"
}

# What the units hold before anything was done to them.
make_storage() {
        local unit name spec devices=()
        for unit in "${units[@]}"; do
                read -r name spec _ <<<"$unit"
                devices+=("--device=${spec/TABLE/$share/pac/small.table},name=$name,plug=no")
        done
        "$FDLD_BUILD/usbsim" "--storage=$share/storage" "${devices[@]}" -- true
        cp -a --sparse=always "$share/storage" "$work/before"
}

# Each unit was flashed with its package last, whatever went wrong before.
compare_storage() {
        local unit name spec package status=0
        for unit in "${units[@]}"; do
                read -r name spec package <<<"$unit"
                [ "$name" != u2 ] || continue # on which every verb was tried
                "$FDLD_BUILD/flashcheck" "$share/pac/$package.pac" "$work/before/$name" "$share/storage/$name" >"$work/difference" 2>&1 && continue
                echo "FAIL: the flash of $name ($spec) is not what $package makes of it:"
                cat "$work/difference"
                status=1
        done
        return $status
}

# boot CHECK: the guest starts, checks and switches itself off.
boot() {
        local check=$1 began=$SECONDS
        rm -rf "$share/storage" "$work/before"
        make_storage
        rm -f "$share/output" "$share/verdict" "$share/evidence" "$work/disk"
        truncate -s "$disk" "$work/disk"
        PATH=$PATH:/usr/sbin mke2fs -q -t ext4 -F "$work/disk"
        echo "---- $check"
        "${machine}_run" "$check" "$work/disk" >"$work/console" || true
        cat "$share/output" 2>/dev/null || true
        if [ "$(cat "$share/verdict" 2>/dev/null)" != passed ]; then
                echo "---- the guest did not say that all is well; its console, and what it left:"
                tail -n 20 "$work/console"
                cat "$share/evidence" 2>/dev/null || true
                return 1
        fi
        [ "$check" != all ] || compare_storage || return 1
        echo "$check: $((SECONDS - began)) s"
}

# ---- what it runs in ----

# ready MACHINE: its guest is made and its kernel starts; else `why` says the reason.
ready() {
        "$1_possible" || return 1
        "$1_make" || { echo "FAIL: the guest could not be made"; exit 1; }
        "$1_starts"
}

# The first that works of those that may be taken.
choose_machine() {
        local reasons=()
        case ${FDLD_VM_MACHINE:=uml qemu} in
        'uml qemu' | uml | qemu) ;;
        *) echo "FAIL: FDLD_VM_MACHINE is uml or qemu, not $FDLD_VM_MACHINE"; exit 1 ;;
        esac
        for machine in $FDLD_VM_MACHINE; do
                ready "$machine" && return 0
                reasons+=("$why")
        done
        skip "$(printf '%s; ' "${reasons[@]}")no guest can run here"
}

grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || skip "the guest is Debian 12, and programs that were built on another system do not run there"
[ "$(id -u)" = 0 ] || grep -qs "^$(id -un):" /etc/subuid || skip "an ordinary user needs a line in /etc/subuid and /etc/subgid for mmdebstrap (adduser makes them)"
has_tools mmdebstrap tar2sqfs mke2fs flock || skip "$why"
work=$(mktemp -d "${TMPDIR:-/tmp}/fdld-vm.XXXXXX")
share=$work/share
trap 'rm -rf "$work"' EXIT
choose_machine
[ "${1:-}" != prepare ] || exit 0
fill_share
status=0 booted=no
[ $# -gt 0 ] || set -- all time-travel
for check; do
        if [ "$check:$machine" = time-travel:qemu ]; then
                echo "left out: time-travel (only User-Mode-Linux can let time pass faster)"
                continue
        fi
        booted=yes
        boot "$check" || status=1
done
[ $booted = yes ] || skip "nothing that was asked for can be done here"
exit $status
