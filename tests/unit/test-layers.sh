#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The house's rules that a compiler does not see: which folder may use which, one door for each library, calls that would block the
# main thread, the licence line. Each rule is tried on a file that breaks it, too.
set -uo pipefail
top=$(cd "${srcdir:-.}" && pwd)
bad=0

# what each folder of daemon/ may include besides its own headers; main.c stands above all
declare -A may=(
        [common]=""
        [bsl]="common"
        [firmware]="common"
        [usb]="common bsl"
        [flash]="common bsl firmware usb"
        [store]="common firmware"
        [station]="common bsl firmware flash store hotplug.h"
        [bus]="common firmware flash store station"
)

# library, header, files that may include it (extended regular expression)
doors='
sd-bus   systemd/sd-bus(-vtable)?\.h ^(daemon/bus/|client/|tests/)
libudev  libudev\.h                  ^(daemon/hotplug\.c|tests/)
libusb   libusb(-1\.0/libusb)?\.h    ^(daemon/usb/|tests/)
SQLite   sqlite3\.h                  ^(daemon/store/|tests/)
expat    expat\.h                    ^(daemon/firmware/|tests/)
OpenSSL  openssl/.*\.h               ^(daemon/firmware/|tests/)
libinih  ini\.h                      ^daemon/station/conf-file\.c
libfuse  fuse.*\.h                   ^tests/
json-c   json-c/.*\.h                ^(daemon/flash/plan-text\.[ch]|daemon/station/(record|steps-spec)\.c|daemon/bus/history-object\.c|client/|tests/)
'

# calls that wait for the bus daemon, in daemon/
blocking='sd_bus_(query_sender_creds|query_sender_privilege|track_add_sender|track_add_name|get_name_creds|get_owner_creds|call|call_method|'
blocking+='call_methodv|open[a-z_]*|default[a-z_]*|flush|flush_close_unref|request_name|release_name|add_match|match_signal|get_property[a-z_]*|'
blocking+='set_property[a-z]*|list_names|wait|get_unique_name|get_bus_id|get_name_machine_id)'
# what a daemon has no business with
never='system|popen|sprintf|gets|tmpnam|mktemp'
# headers that bsl/ and firmware/ must not see: no threads, no logging, no loop
impure='pthread\.h|threads\.h|syslog\.h|systemd/.*|libudev\.h|libusb.*|sqlite3\.h|stdatomic\.h|common/(log|pool|mapped-file)\.h'

# check_tree DIRECTORY: prints every offence, one line each
check_tree() {
        (
                cd "$1" || exit 1
                layers
                one_door
                calls
                simulator
                licence
        )
}

sources() {
        find "$@" -type f \( -name '*.[ch]' -o -name '*.def' \) 2>/dev/null | sort
}

layers() {
        local folder file header
        for folder in "${!may[@]}"; do
                for file in $(sources "daemon/$folder"); do
                        while read -r header; do
                                case " $folder ${may[$folder]} " in
                                *" ${header%%/*} "*) ;;
                                *)
                                        # a header beside the file
                                        [ "$header" = "${header##*/}" ] && [ -f "daemon/$folder/$header" ] ||
                                                echo "$file: includes $header, which lies above daemon/$folder"
                                        ;;
                                esac
                        done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]+)".*/\1/p' "$file")
                done
        done
        for file in $(sources daemon/bsl daemon/firmware); do
                grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($impure)[>\"]" "$file" | sed 's/$/: not pure/'
        done
        find daemon -mindepth 1 -maxdepth 1 -type d | while read -r folder; do
                [ -n "${may[${folder#daemon/}]+set}" ] || echo "$folder: a folder that no rule knows"
        done
}

one_door() {
        local library header allowed
        while read -r library header allowed; do
                [ -n "$library" ] || continue
                sources daemon client tests | xargs -r grep -lE "^[[:space:]]*#[[:space:]]*include[[:space:]]*<$header>" |
                        grep -vE "$allowed" | sed "s/\$/: $library is used outside of its door/"
        done <<<"$doors"
}

calls() {
        sources daemon | xargs -r grep -nHE "\\b${blocking}[[:space:]]*\\(" | sed 's/$/: waits for the bus daemon/'
        sources daemon client | xargs -r grep -nHE "(^|[^A-Za-z0-9_>.])($never)[[:space:]]*\\(" | grep -vE ':[0-9]+:[[:space:]]*(/?\*|//)' |
                sed 's/$/: not allowed/'
}

# The simulator shares nothing with the daemon, so that an error in one does not hide in the other.
simulator() {
        sources tests/usbsim | xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]*daemon/|(common|bsl|firmware|flash|usb|store|station|bus)/)' |
                sed 's/$/: the simulator includes the daemon/'
}

licence() {
        find daemon client tests dbus systemd udev run configure.ac Makefile.am .ci -type f \
                \( -name '*.[ch]' -o -name '*.def' -o -name '*.sh' -o -name '*.py' -o -name '*.xml' -o -name '*.conf' -o -name '*.in' \
                -o -name '*.rules' -o -name '*.service' -o -name '*.sysusers' -o -name '*.supp' -o -name 'run' -o -name '*.ac' \
                -o -name '*.am' \) 2>/dev/null | sort | while read -r file; do
                head -n 2 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later' || echo "$file: no SPDX line at its head"
        done
}

# must_find TEXT FILE CONTENT: the rules find the offence in a tree with this one file
must_find() {
        local tree found
        tree=$(mktemp -d)
        mkdir -p "$tree/$(dirname "$2")"
        printf '%s\n' "$3" >"$tree/$2"
        found=$(check_tree "$tree" 2>/dev/null)
        rm -rf "$tree"
        grep -qF "$1" <<<"$found" && return
        echo "the rule '$1' does not find: $3" >&2
        bad=1
}

spdx='/* SPDX-License-Identifier: LGPL-2.1-or-later */
'
must_find 'lies above' daemon/bsl/x.c "$spdx#include \"flash/plan.h\""
must_find 'lies above' daemon/common/x.c "$spdx#include \"bsl/session.h\""
must_find 'lies above' daemon/store/x.h "$spdx# include \"station/station.h\""
must_find 'lies above' daemon/station/x.c "$spdx#include \"bus/bus.h\""
must_find 'not pure' daemon/firmware/x.c "$spdx#include <pthread.h>"
must_find 'no rule knows' daemon/misc/x.c "$spdx"
must_find 'outside of its door' daemon/station/x.c "$spdx#include <systemd/sd-bus.h>"
must_find 'outside of its door' daemon/usb/x.c "$spdx#include <libudev.h>"
must_find 'outside of its door' client/x.c "$spdx#include <sqlite3.h>"
must_find 'outside of its door' daemon/flash/x.c "$spdx#include <libusb.h>"
must_find 'waits for the bus daemon' daemon/bus/x.c "$spdx        r = sd_bus_call(bus, m, 0, NULL, NULL);"
must_find 'waits for the bus daemon' daemon/bus/x.c "$spdx        sd_bus_query_sender_creds(m, 0, &c);"
must_find 'waits for the bus daemon' daemon/bus/x.c "$spdx        sd_bus_open_system(&bus);"
must_find 'not allowed' client/x.c "$spdx        system(\"ls\");"
must_find 'simulator includes' tests/usbsim/x.c "$spdx#include \"common/macro.h\""
must_find 'no SPDX line' daemon/bus/x.c 'int x;'

offences=$(check_tree "$top")
if [ -n "$offences" ]; then
        echo "$offences" >&2
        bad=1
fi
[ "$bad" = 0 ] && echo "layers, doors, calls and licence lines are in order"
exit "$bad"
