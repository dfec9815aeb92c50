#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What this computer does to devices is told apart and named: permission, another program, a driver, a machine that does not allow the device,
# a device put to sleep, a full-speed hub, neighbours that fail too. And a device that checks an image: refused, dead, or still alive.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
last=at=fdl2:midst:#3
mute=fault=at=fdl2:chip-uid:#2+silence # asked who it is after the failure, it says nothing
enter_world --fast --hub 1-2,full --device=phone-emmc,name=perm,port=1-1,perm=denied --device=phone-emmc,name=program,port=1-4,held-by=program \
        --device=phone-emmc,name=driver,port=1-5,held=option,held-by=stubborn --device=phone-emmc,name=blocked,port=1-6,authorized=no \
        --device=phone-emmc,name=asleep,port=1-7,power=asleep --device=phone-emmc,name=slowhub,port=1-2.1,fault=at=fdl2:midst:#20+silence \
        --device=phone-emmc,name=late,port=1-2.2,fault=at=fdl2:midst:#20+late=1500,$mute \
        --device=phone-emmc,name=one,port=1-3.1,fault=at=fdl2:midst:#20+silence,$mute --device=phone-emmc,name=two,port=1-3.2,fault=at=fdl2:midst:#20+silence,$mute \
        --device=phone-emmc,name=dead,port=1-8.1,fault=$last+stall --device=phone-emmc,name=alive,port=1-9.1,fault=$last+late=1500 \
        --device=phone-emmc,name=refused,port=1-10.1,fault=$last+nak=84 \
        --device=phone-emmc,name=autod,port=1-12,autod --device=phone-emmc,name=fine,port=1-11.1 --device=phone-emmc,name=alone,port=1-11.2,fault=at=fdl2:midst:#20+silence
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc"
printf '[Timeouts]\nLearn=no\nMidstMSec=1000\nMidstLastMSec=1000\nCheckingPerMibMSec=1\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"

fails() { # UNIT CODE EXIT WORDS…: its job ends so, and says so; nothing but the code and words of one line
        local unit=$1 code=$2 status=$3
        shift 3
        expect "$status" fdlctl -q flash phone.pac --slot="$(port_of "$unit")"
        says "$code"
        for word; do says "$word"; done
}
first_cause() { sed -n 's/^  likely cause:  *//p' "$WORK/err" | head -n 1; }

fails perm claim-host-permission 1 "owner" "mode 0600" "did not get through" "may be unplugged and starts as before"
fails program claim-host-busy 1 "Another program" "fdlctl doctor"
fails driver claim-host-driver 1 "kernel driver option" "came back at once"
fails blocked claim-host-unauthorised 1 "usbguard"
fails asleep claim-host-autosuspend 1 "put it to sleep"
# mended, each of them works
simctl '{"cmd":"set","device":"asleep","power":"on"}' >/dev/null
simctl '{"cmd":"set","device":"perm","perm":"ok"}' >/dev/null
for unit in asleep perm; do
        port=$(port_of $unit)
        simctl "{\"cmd\":\"replug\",\"device\":\"$unit\"}" >/dev/null
        expect 0 fdlctl -q --timeout=600 flash phone.pac --slot="$port"
done

# the link and what stands around
fails slowhub write-silent 10 "12 Mbit/s" "must be flashed again"
grep -q "full speed" <<<"$(first_cause)" || fail "the first cause is $(first_cause)"
fails late write-slow-full-speed 10 "12 Mbit/s" "may still be writing"
start_job flash phone.pac --slot="$(port_of one)"
one=$job
start_job flash phone.pac --slot="$(port_of two)"
expect 10 fdlctl -q wait "$one" "$job"
says "USB port is alive"
says "other devices at the same hub failed" # said by the second of them
grep -q "^  likely cause: .*hub or its power" "$WORK/err" || fail "the hub is not the first cause: $(cat "$WORK/err")"
expect 0 fdlctl flash phone.pac --slot="$(port_of fine)"
for word in ": done" "verified: critical" "  stages: handshake " "write " "/s"; do says "$word"; done # what went well is also said
[ -z "${SHOW:-}" ] || cat "$WORK/err" >&2
fails alone write-silent 10 "other devices at the same hub work" "hardly the hub" "it answers when a new session is begun" "Retry the job: the device waits."

# A phone that was sent here by "reboot autodloader" has no boot loader any more: said, unless the job writes one.
device=$(fdlctl -j devices | grep -o "{[^{}]*\"Port\":\"$(port_of autod)\"[^{}]*}" | grep -o 'devices/_[0-9]*' | sed 's/.*_//')
expect 0 fdlctl probe "$device"
expect 0 fdlctl -q export "$WORK/records.jsonl" --format=jsonl
grep -q "erasing its own boot loader" "$WORK/records.jsonl" || fail "that the boot loader is gone is not said"

# checking has three ends
fails refused checking-refused-84 10 "refused" "it answered, and waits"
fails dead checking-silent-dead 10 "died while it checked" "answers nothing at all"
fails alive checking-slow 10 "still alive" "may still be writing"
job=$(sed -n 's/^job \([0-9]*\).*/\1/p' "$WORK/err" | head -n 1)
expect 0 fdlctl -j show "$job"
for word in '"device_state":"talking"' '"verdict":"busy"' '"safe_to_unplug":false' '"must_reflash":true' '"bootable":false'; do says "$word"; done
# the record tells all of it
expect 0 fdlctl -q export "$WORK/records.jsonl" --format=jsonl
cp "$WORK/records.jsonl" "$WORK/out"
for word in '"device_state":"mute"' '"situation":["neighbours-failing"]' '"situation":["full-speed-hub"]' '"hub_speed":"12"' '"verdict":"busy"' \
        '"causes":[' '"retries":0' '"duration_usec":' '"rate":' '"actions":[' '"summary":"' '"code":"checking-silent-dead"' '"deadline_ms":' '"waited_ms":' '"attempts":'; do
        says "$word"
done
stop_station
trap - EXIT
echo "five host causes, four situations, three ends of checking"
