#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Packages come into the store whole or not at all: the daemon is killed at many moments, the client dies, the import is canceled,
# quota and disk are full. What has gigabytes of holes is imported quickly and stays small.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=unit
trap stop_station EXIT
maker=$FDLD_BUILD/pacmaker
mkdir -p "$WORK/etc" "$WORK/in"
"$maker" phone "$WORK/in/a.pac" --partitions=none --size=System=60M
"$maker" phone "$WORK/in/b.pac" --seed=2
"$maker" phone "$WORK/in/huge.pac" --partitions=none --size=System=4G
start_bus
start_daemon
store=$WORK/state/packages

# whole: what lies in the store is whole, and is what its name says.
whole() {
        local file
        for file in "$store"/*.pac; do
                [ -e "$file" ] || continue
                [ "$(stat -c %s "$file")" -lt 1000000000 ] || continue # minutes on some machines
                [ "$(sha256sum <"$file")" = "$(basename "$file" .pac)  -" ] || fail "$1: $file is not whole"
        done
}

# nothing_half: nor is anything else there.
nothing_half() {
        whole "$1"
        [ -z "$(find "$store" -mindepth 1 ! -name '*.pac')" ] || fail "$1: left behind: $(ls -A "$store")"
}

# killed at many moments
arrived=0
for delay in 0 0.01 0.03 0.06 0.1 0.15 0.2 0.3 0.5 1; do
        fdlctl -q import "$WORK/in/a.pac" >/dev/null 2>&1 &
        client=$!
        sleep "$delay"
        kill -9 "$daemon_pid"
        wait "$daemon_pid" 2>/dev/null || true
        wait "$client" 2>/dev/null || true
        whole "killed after $delay s"
        start_daemon
        nothing_half "killed after $delay s"
        if [ -n "$(ls "$store")" ]; then
                arrived=$((arrived + 1))
                expect 0 fdlctl packages --no-legend
                [ -s "$WORK/out" ] || fail "a package is stored but not listed"
                fdlctl remove "$(basename "$store"/*.pac .pac)" >/dev/null
        fi
done

# the same twice, under two names and from a file that is already unlinked
expect 0 fdlctl -q import "$WORK/in/b.pac"
first=$(cat "$WORK/out")
cp "$WORK/in/b.pac" "$WORK/in/again.pac"
exec 3<"$WORK/in/again.pac"
rm "$WORK/in/again.pac"
expect 0 fdlctl -q import /proc/self/fd/3
exec 3<&-
[ "$(cat "$WORK/out")" = "$first" ] || fail "the same content is another package"
[ "$(ls "$store" | wc -l)" -eq 1 ] || fail "the same content is stored twice"

# canceled, and the client gone, in the middle of four gigabytes
start_job import "$WORK/in/huge.pac"
expect 0 fdlctl cancel "$job"
expect 6 fdlctl -q --timeout=600 wait "$job"
nothing_half canceled
[ "$(ls "$store" | wc -l)" -eq 1 ] || fail "a canceled import left a package"
fdlctl -q import "$WORK/in/huge.pac" >/dev/null 2>&1 &
client=$!
for _ in $tries; do
        fdlctl jobs --no-legend | grep -q ' import .* running ' && break
        sleep 0.02
done
kill -9 "$client"
wait "$client" 2>/dev/null || true
job=$(fdlctl jobs --no-legend | awk '$2 == "import" && $3 == "running" { print $1 }')
[ -n "$job" ] || fail "no import runs any more when its client is gone"
expect 0 fdlctl -q --timeout=600 wait "$job"
nothing_half "client gone"
[ "$(du -sm "$store" | cut -f1)" -lt 300 ] || fail "holes were filled: $(du -sm "$store")"
expect 0 fdlctl packages
says '4.0 GiB'
expect 0 fdlctl remove huge.pac
stop_daemon

# quota
printf '[Store]\nPackageQuota=40M\n' >"$WORK/etc/fdld.conf"
start_daemon
expect 1 fdlctl -q import "$WORK/in/a.pac"
says import-host-quota
says PackageQuota=
nothing_half quota
# What is stored already needs no room.
expect 0 fdlctl -q import "$WORK/in/b.pac"
stop_daemon
rm "$WORK/etc/fdld.conf"

# a full disk
if mkdir "$WORK/small" && mount -t tmpfs -o size=40m,mode=0700 none "$WORK/small" 2>/dev/null; then
        rm -rf "$WORK/state"
        ln -s "$WORK/small" "$WORK/state"
        start_daemon
        expect 1 fdlctl -q import "$WORK/in/a.pac"
        says disk-full
        says "$store"
        nothing_half "disk full"
        expect 0 fdlctl -q import "$WORK/in/b.pac"
        nothing_half "disk nearly full"
        expect 0 fdlctl -q --timeout=600 flash b.pac
        stop_daemon
        umount "$WORK/small"
else
        echo "a full disk was not tried: no tmpfs can be mounted here"
fi
stop_station
trap - EXIT
echo "killed ten times, $arrived imports had arrived; nothing half was left"
