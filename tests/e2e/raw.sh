#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Escaped, without escaping, raw by chunk and raw by file: four phones, the same flash. A fifth refuses what it offers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
units=(escaped plain raw1 raw2 refuses cut)
enter_world --fast --device=phone-emmc,name=escaped,hdlc=always --device=phone-emmc,name=plain \
        --device=phone-emmc,name=raw1,raw=1 --device=phone-emmc,name=raw2,raw=2,info=tlv \
        --device=phone-emmc,name=refuses,raw=1,unknown-limit=0,fault=at=fdl2:enable-raw+nak=fe+count=forever \
        --device=phone-emmc,name=cut,raw=1,fault=at=fdl2:raw-data:#3+write-error
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 2 fdlctl flash phone.pac --raw=perhaps
expect 0 fdlctl -q import "$WORK/phone.pac"
for unit in "${units[@]}"; do
        start_job flash phone.pac --raw=on --slot="$(port_of "$unit")"
        eval "job_$unit=$job"
done
for unit in "${units[@]}"; do
        name=job_$unit
        [ "$unit" = cut ] || expect 0 fdlctl -q wait "${!name}"
done
# An error that comes after the acknowledgement is not lost.
# shellcheck disable=SC2154 # set above
expect 10 fdlctl -q wait "$job_cut"
for unit in escaped plain raw1 raw2 refuses; do
        "$FDLD_BUILD/flashcheck" "$WORK/phone.pac" "$WORK/before/$unit" "$WORK/flash/$unit" || fail "flash of $unit is not what it must be"
done
fdlctl history --json=short >"$WORK/history"
for level in 1 2; do grep -q "\"raw\":\"level $level\"" "$WORK/history" || fail "nothing went raw at level $level"; done
[ "$(grep -o '"raw":"level' "$WORK/history" | wc -l)" -eq 3 ] || fail "not three units were written raw"
grep -q 'offers raw data but refused them' "$WORK/history" || fail "the record does not tell that raw data were refused"
grep -q 'had acknowledged' "$WORK/history" || fail "the record does not tell that acknowledged data were not written"
stop_station
trap - EXIT
