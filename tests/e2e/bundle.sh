#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fdlctl bundle: one archive with all there is about a failed job, that plays again, and in which nothing says whose device it was unless that is
# asked for.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone,size=640M,serial=SECRET4711,seed=5
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc"
printf '[Timeouts]\nMidstMSec=400\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
simctl '{"cmd":"fault","device":"phone","fault":"at=fdl2:midst:500000 silence count=1"}' >"$WORK/reply"
expect 10 fdlctl -q flash phone.pac --operator="Ada Example"

cd "$WORK"
expect 0 fdlctl bundle 2
says fdld-job-2.tar.gz
expect 1 fdlctl bundle 2
says exists
expect 0 fdlctl -q bundle 2 "$WORK/again.tar.gz"
[ "$(stat -c %a fdld-job-2.tar.gz)" = 600 ] || fail "everyone may read the archive"
mkdir unpacked
tar -xzf fdld-job-2.tar.gz -C unpacked || fail "no archive"
for file in README.txt job.json record.json trace.txt plan.json table.txt kernel.txt doctor.json versions.txt; do
        [ -s "unpacked/fdld-job-2/$file" ] || fail "$file is missing: $(find unpacked)"
done
in_bundle() { grep -q -- "$2" "unpacked/fdld-job-2/$1" || fail "$1 does not tell \"$2\": $(head -c 2000 "unpacked/fdld-job-2/$1")"; }
in_bundle job.json '"write-silent"'
in_bundle record.json '"sha256"'
in_bundle trace.txt '^failure silent write '
in_bundle plan.json 'l_modem'
in_bundle table.txt 'prodnv'
in_bundle doctor.json '"check"'
in_bundle versions.txt '^fdld [0-9]'

# nobody's: the unit's serial number, chip UID and IMEI, and who stood there
chip=$(simctl '{"cmd":"describe","device":"phone"}' | grep -o '"uid":"[0-9a-f]*"' | cut -d'"' -f4)
mkdir vault
expect 0 fdlctl vault export "$WORK/vault"
imei=
for image in vault/*.img; do
        # item 5 of the calibration: id, length 8, and eight bytes with the number's digits, low halves first
        hex=$(od -An -v -tx1 "$image" | tr -d ' \n' | grep -oE '05000800[0-9a-f]{16}' | head -n 1) || true
        [ -z "$hex" ] || imei=${hex:8}
done
[ -n "$chip" ] && [ -n "$imei" ] || fail "nothing to look for: chip '$chip', IMEI '$imei'"
digits=$(sed 's/\(.\)\(.\)/\2\1/g' <<<"$imei" | cut -c2-)
for secret in SECRET4711 "$chip" "$imei" "$digits" "Ada Example" "$(printf %s "$chip" | od -An -v -tx1 | tr -d ' \n')"; do
        ! grep -rFiq -- "$secret" unpacked || fail "the archive tells $secret: $(grep -rFil -- "$secret" unpacked)"
done

# unless asked for
expect 0 fdlctl -q bundle 2 --personal --force "$WORK/again.tar.gz"
rm -rf unpacked && mkdir unpacked && tar -xzf again.tar.gz -C unpacked
in_bundle record.json "$chip"
in_bundle record.json "Ada Example"
expect 3 fdlctl bundle 99
expect 2 fdlctl bundle nonsense

# what is in it plays: the device of the archive fails as this one did
simctl "{\"cmd\":\"swap\",\"device\":\"phone\",\"spec\":\"replay,trace=$WORK/unpacked/fdld-job-2/trace.txt,name=phone\"}" >"$WORK/reply"
grep -q '"ok":true' "$WORK/reply" || fail "the trace of the archive does not play: $(cat "$WORK/reply")"
for _ in $tries; do
        fdlctl -j slots | grep -q '"State":"occupied"' && break
        sleep 0.05
done
expect 10 fdlctl -q flash phone.pac
says write-silent
trap - EXIT
cd /
stop_station
echo "an archive of $(stat -c %s "$WORK/fdld-job-2.tar.gz") bytes"
