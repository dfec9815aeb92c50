#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Time limits are learned: what a loader needed in a job that ended well makes the limits of its next jobs longer, also after a crash of the daemon;
# people see which, and there is a bound.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=a --device=phone-emmc,name=b --device=phone-emmc,name=c
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=1M --size=BOOT=256K --size=Recovery=256K >/dev/null
mkdir -p "$WORK/etc"
printf '[Timeouts]\nEraseMSec=4000\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
cd "$WORK"
expect 0 fdlctl -q import phone.pac
fault() { simctl "{\"cmd\":\"fault\",\"device\":\"$1\",\"fault\":\"$2\"}" >/dev/null; }
flash() { fdlctl -q flash phone.pac --slot="$(port_of "$1")"; }

# In time, but slow: nothing is longer for this job, and something was learned.
fault a "at=fdl2:erase:#1 slow=3000"
expect 0 flash a
fdlctl export | tail -n 1 | grep -q '"limits"' && fail "a limit was longer before anything was known"
expect 0 fdlctl -j loaders
grep -oE '"limits":"EraseSec=[0-9.]+ instead of 4"' out >longer || fail "what was learned is not told: $(cat out)"

kill -KILL "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
packages_ready
expect 0 fdlctl -j loaders
grep -qF "$(cat longer)" out || fail "after a crash it is not $(cat longer): $(cat out)"

# The next unit is slower than the limit that is set, which is no failure any more.
fault b "at=fdl2:erase:#1 slow=4500"
expect 0 flash b
fdlctl export | tail -n 1 | grep -qF "$(cat longer)" || fail "the record does not tell its limits: $(fdlctl export | tail -n 1)"
expect 0 fdlctl -j loaders
grep -qE '"limits":"EraseSec=(9|1[0-6])' out || fail "nothing was learned of the second unit: $(cat out)"

# What a job was given stands at the head of its trace, and there is a bound: no more than four times what is set.
fault c "at=fdl2:erase:#1 silence"
start_job flash phone.pac --slot="$(port_of c)"
for _ in $tries; do
        fdlctl trace "$job" >out 2>&1 || true
        grep -q 'ERASE_FLASH' out && break
        sleep 0.05
done
limit=$(grep -oE '^deadline erase [0-9]+' out | cut -d" " -f3)
[ "$limit" -gt 8999 ] && [ "$limit" -le 16000 ] || fail "the limit is \"$limit\" ms: $(head -n 40 out)"
simctl '{"cmd":"unplug","device":"c"}' >/dev/null
expect 10 fdlctl -q --timeout=600 wait "$job"
stop_station
trap - EXIT
echo "a loader that is slow gets longer, up to a bound"
