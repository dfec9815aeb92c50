#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What programs that only read the source have to say: nothing, or the line says beside it why they are wrong. A program that is not installed is
# named and left out. XML, units and udev rules have their own test (tests/unit/test-system-files.sh). usage: lint.sh BUILD, a configured folder
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$(cd "$1" && pwd)
failed=0 ran=0

# tool NAME PACKAGE
tool() {
        command -v "$1" >/dev/null && return 0
        echo "skipped: $1 is not installed (apt-get install $2)"
        return 1
}

# found NAME COMMAND…: one that is content says nothing and ends well.
found() {
        local name=$1 text status=0
        shift
        ran=$((ran + 1))
        text=$("$@" 2>&1) || status=$?
        if [ -n "$text" ] || [ "$status" -ne 0 ]; then
                printf '%s (status %d):\n%s\n' "$name" "$status" "$text"
                failed=1
        else
                echo "$name: nothing found"
        fi
}

scripts() {
        grep -rlE '^#!.*(bash|/bin/sh)|^# shellcheck shell=' run .ci tests client debian | sort
}

# It knows neither the cleanup attribute (leaks are found by AddressSanitizer, in every test) nor that each DIR has one thread and the client is one.
look_with_cppcheck() {
        cppcheck --quiet -j "$(nproc)" --enable=warning,performance,portability --error-exitcode=1 --std=c11 --library=posix --inline-suppr -Idaemon -D_GNU_SOURCE \
                '-Djson_object_object_foreach(o,k,v)=while (json_next(o))' \
                --suppress=missingIncludeSystem --suppress=resourceLeak --suppress=memleak --suppress=readdirCalled --suppress=getpwnamCalled \
                --suppress=getgrnamCalled daemon client
}

# The path-sensitive checks know nothing of the cleanup attribute, which most functions use: they are not asked.
checks='-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result'
checks+=',-bugprone-reserved-identifier,-bugprone-branch-clone,-bugprone-macro-parentheses'

# Where each file is compiled alike; clang-tidy takes the options from there.
write_options() {
        { printf '%s\n' -std=gnu11 -D_GNU_SOURCE "-I$build" "-I$PWD/daemon" -include config.h '-DFDLD_SYSCONFDIR="/etc"' '-DFDLD_LOCALSTATEDIR="/var"'
                pkg-config --cflags libsystemd libudev libusb-1.0 sqlite3 json-c expat libcrypto inih libarchive | tr ' ' '\n'; } | grep . >"$build/compile_flags.txt"
}

sources() {
        find daemon client -name '*.c' -print0 | sort -z
}

look_with_clang_tidy() {
        sources | xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p "$build" "--checks=$checks" '--warnings-as-errors=*' 2>/dev/null
}

# What it calls a leak is what the cleanup attribute frees: AddressSanitizer looks for leaks, in every test.
look_with_gcc() {
        local options
        mapfile -t options <"$build/compile_flags.txt"
        sources | xargs -0 -n 1 -P "$(nproc)" gcc "${options[@]}" -fanalyzer -Wno-analyzer-malloc-leak -Werror -c -o /dev/null
}

write_options
mapfile -t list < <(scripts)
! tool shellcheck shellcheck || found shellcheck shellcheck -S warning "${list[@]}"
! tool cppcheck cppcheck || found cppcheck look_with_cppcheck
! tool clang-tidy clang-tidy || found clang-tidy look_with_clang_tidy
! tool gcc gcc || found "gcc's analyzer" look_with_gcc
[ "$ran" -gt 0 ] || exit 77
exit "$failed"
