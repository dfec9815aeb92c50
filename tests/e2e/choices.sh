#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is chosen beyond the mode: files, checks, charging; and that a loader is not asked again what it did not know, even by the next daemon.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=a,unknown=chip-uid --device=phone-emmc,name=b,unknown=chip-uid \
        --device=phone-emmc,name=dies,no-keep-charge --device=phone-emmc,name=ram,ddr=bad
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon
expect 2 fdlctl plan "$WORK/phone.pac" --checks=everything
expect 9 fdlctl plan "$WORK/phone.pac" --include=nothing
says 'It has '
expect 9 fdlctl plan "$WORK/phone.pac" --exclude=FDL
says 'cannot be left out'
expect 0 fdlctl plan "$WORK/phone.pac" --mode=research --include=System --nv=keep
says '--include=ID,'
says '--verify=ack|sample|critical|full'
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl flash phone.pac --dry-run --mode=research --include=System
says 'System'
says '--keep-charge=yes|try|no'
grep -q 'BOOT' "$WORK/out" && fail "research writes what was not chosen"
expect 9 fdlctl -q flash phone.pac --mode=research --slot="$(port_of a)"
says '--include=all'
expect 9 fdlctl -q flash phone.pac --exclude=nothing --slot="$(port_of a)"

# Only one file of all, and the rest of the flash is as it was.
cp -a "$WORK/flash/a" "$WORK/before"
expect 0 fdlctl -q flash phone.pac --mode=research --include=System --finish=nothing --slot="$(port_of a)"
differing=$(cd "$WORK/flash/a" && find . -type f | while read -r f; do cmp -s "$f" "$WORK/before/$f" || echo "$f"; done)
[ "$differing" = ./parts/super ] || fail "changed: $differing"
unknown() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o '"unknown":[0-9]*' | cut -d: -f2; }
# The number of the chip, then that of the flash: no more than two.
[ "$(unknown a)" -eq 2 ] || fail "unit a was asked $(unknown a) things that it does not know"

# The same loader on another unit, after a crash of the daemon: nothing of it is asked again.
kill -KILL "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
for _ in $tries; do # the package is looked through after a start
        fdlctl flash phone.pac --dry-run >/dev/null 2>&1 && break
        sleep 0.1
done
expect 0 fdlctl -q flash phone.pac --mode=research --include=System --finish=nothing --slot="$(port_of b)"
[ "$(unknown b)" -eq 0 ] || fail "unit b was asked again what its loader does not know"

# All of the flash, which upgrade mode never erases; afterwards calibration is where it was.
expect 9 fdlctl -q flash phone.pac --erase-all --slot="$(port_of b)"
simctl '{"cmd":"unplug","device":"b"}' >/dev/null
simctl '{"cmd":"plug","device":"b"}' >/dev/null
cp -a "$WORK/flash/b" "$WORK/before-b"
expect 0 fdlctl flash phone.pac --mode=research --include=all --exclude=NV_LTE --erase-all --finish=power-off --yes --slot="$(port_of b)"
says 'unplug it'
cmp -n 32768 -i 516 "$WORK/flash/b/parts/l_fixnv1" "$WORK/before-b/parts/l_fixnv1" || fail "calibration is not what it was"
expect 0 fdlctl show "$(port_of b)"
grep -Eq 'SafeToUnplug.*(yes|true)' "$WORK/out" || fail "it is not said that unit b may be unplugged"

# The same where the steps are chosen, before the first of them; a whole backup makes them once, in its first job.
head -c 70000 /dev/urandom >"$WORK/noise"
simctl '{"cmd":"replug","device":"b"}' >/dev/null
expect 5 fdlctl -q --package=phone.pac --yes --finish=nothing --keep-charge=yes --checks=old-memory write logo="$WORK/noise" --slot="$(port_of b)"
says 'the memory of the unit was used before'
simctl '{"cmd":"replug","device":"b"}' >/dev/null
expect 0 fdlctl -q --package=phone.pac --keep-charge=yes --try-checks=ddr backup "$WORK/saved" miscdata --device="$(port_of b)"
expect 0 fdlctl -j history --kind=identify --limit=1
says 'told to let the unit charge'
expect 9 fdlctl -q --package=phone.pac --checks=calibration read misc="$WORK/misc" --device="$(port_of b)"

# A first loader that dies of an order, and one that finds bad RAM.
expect 4 fdlctl -q flash phone.pac --keep-charge=yes --slot="$(port_of dies)"
says 'exec-fdl1-silent-unknown'
expect 4 fdlctl -q flash phone.pac --checks=ddr --slot="$(port_of ram)"
says 'exec-fdl1-refused-b6'
simctl '{"cmd":"unplug","device":"dies"}' >/dev/null
simctl '{"cmd":"plug","device":"dies"}' >/dev/null
expect 9 fdlctl -q flash phone.pac --keep-charge=yes --slot="$(port_of dies)"
says 'exec-fdl1-plan-unsupported'

simctl '{"cmd":"replug","device":"ram"}' >/dev/null
expect 4 fdlctl -q --package=phone.pac --yes --checks=ddr write logo="$WORK/noise" --slot="$(port_of ram)"
says 'exec-fdl1-refused-b6'
stop_station
trap - EXIT
