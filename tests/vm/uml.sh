# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034 # vm.sh, which includes this, has the other half of these
# User-Mode-Linux: the kernel of the guest is a program that needs neither root nor virtualisation, and can let time pass as fast as it likes.
# It is built of Debian's kernel source.

uml_kernel='' uml_system=''

source_tarball() { find /usr/src -maxdepth 1 -name 'linux-source-*.tar.xz' 2>/dev/null | sort -V | tail -n 1; }

# make_kernel TARBALL FILE
make_kernel() {
        local work status=0
        work=$(mktemp -d "${TMPDIR:-/tmp}/fdld-kernel.XXXXXX")
        echo "building a kernel of $(basename "$1") (some minutes, once)"
        {
                tar -xf "$1" -C "$work" --strip-components=1 --exclude='*.rst' --exclude='*/drivers/gpu/*.[ch]' \
                        --exclude='*/sound/*.c' --exclude='*/tools/testing/*' &&
                        make -C "$work" ARCH=um KCONFIG_ALLCONFIG="$here/kernel.config" allnoconfig &&
                        make -C "$work" ARCH=um -j"$(nproc)" linux
        } >"$work.log" 2>&1 || status=$?
        if [ $status -eq 0 ]; then
                strip -o "$2" "$work/linux"
        else
                tail -n 30 "$work.log"
        fi
        rm -rf "$work" "$work.log"
        return $status
}

# Whether it can be made here at all; if not, `why` says the reason.
uml_possible() {
        [ "$(uname -m)" = x86_64 ] || { why="User-Mode-Linux runs on x86-64 only"; return 1; }
        has_tools flex bison bc xz || return 1
        [ -n "$(source_tarball)" ] || { why="there is no kernel source in /usr/src (apt-get install linux-source)"; return 1; }
}

uml_make() {
        local tarball
        tarball=$(source_tarball)
        uml_kernel=$cache/linux-$(key "$(basename "$tarball")" "$(stat -c %s "$tarball")" "$(gcc -dumpversion)" <"$here/kernel.config")
        uml_system=$cache/system-$(key "${guest_packages[@]}" < <(cat "${guest_files[@]}")).squashfs
        keep "$uml_kernel" make_kernel "$tarball" && keep "$uml_system" make_system
}

# It traces its own children, which some containers forbid: without a root it must come as far as to miss that.
uml_starts() {
        uml_kernel_with 60 mem=64M >"$work/console" 2>/dev/null || true # the shell would tell of its end, which is wanted
        grep -q 'not syncing' "$work/console" || { why="User-Mode-Linux does not run here: $(tail -n 1 "$work/console")"; return 1; }
}

# What it prints goes by way of cat: a file is nothing that its console could wait for.
uml_kernel_with() {
        local seconds=$1
        shift
        TMPDIR=$work timeout -k 5 "$seconds" "$uml_kernel" "$@" con0=null,fd:1 con=null quiet </dev/null 2>&1 | cat
}

# uml_run CHECK DISK: until the guest switches itself off
uml_run() {
        local options=()
        [ "$1" != time-travel ] || options=(time-travel)
        uml_kernel_with "$limit" "mem=$memory" "ubd0r=$uml_system" "ubd1=$2" root=/dev/ubda rootfstype=squashfs ro init=/sbin/fdld-vm-init \
                "fdld.share=$share" "fdld.check=$1" "${options[@]}" systemd.show_status=0
}
