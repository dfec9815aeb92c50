#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Jobs without a package: their loaders come from the catalogue; what is not certain is never guessed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone --device=phone-ufs-ab,name=ab,port=1-2
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Timeouts]\nSyncFdl1WindowSec=2\nExecFdl2MSec=2000\n' >"$WORK/etc/fdld.conf"
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=1M >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/newer.pac" --set=version=2 --size=System=1M >/dev/null
"$FDLD_BUILD/pacmaker" phone-ab "$WORK/ab.pac" >/dev/null
start_bus
start_daemon
cd "$WORK"

expect 2 fdlctl -q read --device="$(port_of phone)" boot=x.img
says "The store has no package"
expect 0 fdlctl loaders
expect 0 fdlctl -q import phone.pac newer.pac ab.pac
expect 0 fdlctl --no-legend loaders
[ "$(wc -l <out)" -eq 2 ] || fail "two packages with the same loaders are one pair: $(cat out)"
expect 0 fdlctl -j loaders
says '"fdl1-address":21760'
says '"packages":2'
says '"worked":0'
hash=$(tr '{' '\n' <out | grep '"product":"SIMPHONE"' | grep -o '"hash":"[0-9a-f]*"' | cut -d'"' -f4)

# several that differ: none is taken
expect 2 fdlctl -q read --device="$(port_of phone)" boot=x.img
says "Several loaders could be meant, and they differ"
says "SIMPHONE_AB"
[ ! -e x.img ] || fail "a file was made"
expect 2 fdlctl -q read --loaders=nonesuch --device="$(port_of phone)" boot=x.img
says "No loaders of the store fit 'nonesuch'"
expect 2 fdlctl -q read --loaders="$hash" --package=phone.pac --device="$(port_of phone)" boot=x.img

# named: by hash, by product
expect 0 fdlctl -q --timeout=60 read --loaders="${hash:0:8}" --device="$(port_of phone)" boot=x.img
[ -s x.img ] || fail "nothing was read"
expect 0 fdlctl -q --timeout=60 read --loaders=SIMPHONE_AB --device="$(port_of ab)" boot_a=y.img

# the last unit in the slot tells
simctl '{"cmd":"replug","device":"phone"}' >/dev/null
expect 0 fdlctl -q --timeout=60 read --length=4K --slot="$(port_of phone)" boot=z.img
cmp -n 4096 x.img z.img || fail "not the same"
expect 0 fdlctl -j show 6
says '"Note":"loaders '
says "as for the last unit in this slot"

# another unit there: they do not start, and that is told next time
simctl '{"cmd":"unplug","device":"phone"}' >/dev/null
simctl '{"cmd":"replug","device":"ab"}' >/dev/null
expect 4 fdlctl -q --timeout=60 read --loaders=SIMPHONE --slot="$(port_of ab)" boot_a=w.img
expect 0 fdlctl -j loaders
says '"failed":1'
stop_station
trap - EXIT
echo "1 passed, 0 failed"
