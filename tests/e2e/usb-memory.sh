#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# All devices share what the kernel sets aside for transfers. Where that is little (usbfs_memory_mb) and several units take their data
# raw, in large pieces, each gets on with smaller ones, and nobody fails for want of memory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
count=4
devices=()
for i in $(seq $count); do devices+=("--device=phone-emmc,raw=1,name=u$i"); done
enter_world --fast --memory-limit=1Mi "${devices[@]}"
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl -q --timeout=600 flash phone.pac --all --raw=on
for i in $(seq $count); do
        "$FDLD_BUILD/flashcheck" "$WORK/phone.pac" "$WORK/before/u$i" "$WORK/flash/u$i" || fail "flash of unit $i is not what it must be"
done
expect 0 fdlctl export "$WORK/history"
[ "$(grep -c '"raw":"level 1"' "$WORK/history")" -eq $count ] || fail "not all went raw"
stop_station
trap - EXIT
echo "$count units share a mebibyte"
