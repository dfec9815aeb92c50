#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sixteen devices of three families at once; each is compared byte for byte; the bus answers meanwhile.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages

devices=()
for i in $(seq 0 15); do
        case $((i % 3)) in
        0) devices+=("--device=phone-emmc,name=u$i") ;;
        1) devices+=("--device=uis8910,name=u$i") ;;
        2) devices+=("--device=uis8850,name=u$i") ;;
        esac
done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >"$WORK/etc/fdld.conf"
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac" "$FDLD_TEST_PACS/uis8910_full.pac" "$FDLD_TEST_PACS/uis8850_full.pac"
jobs=()
for i in $(seq 0 15); do
        case $((i % 3)) in
        0) package=phone.pac ;;
        1) package=uis8910_full.pac ;;
        2) package=uis8850_full.pac ;;
        esac
        port=$(port_of "u$i")
        expect 0 fdlctl -q flash "$package" --slot="$port" --no-wait
        jobs+=("$(sed 's/^job //' "$WORK/out")")
done
answers=0
while kill -0 $$ && [ -n "$(fdlctl jobs --no-legend | grep -E ' (running|queued|waiting) ' || true)" ]; do
        fdlctl status >/dev/null || fail "the bus does not answer while devices are flashed"
        answers=$((answers + 1))
done
expect 0 fdlctl -q wait "${jobs[@]}"
for i in $(seq 0 15); do
        case $((i % 3)) in
        0) package=$WORK/phone.pac ;;
        1) package=$FDLD_TEST_PACS/uis8910_full.pac ;;
        2) package=$FDLD_TEST_PACS/uis8850_full.pac ;;
        esac
        "$FDLD_BUILD/flashcheck" "$package" "$WORK/before/u$i" "$WORK/flash/u$i" || fail "flash of unit $i is not what it must be"
done
stop_station
trap - EXIT
echo "16 devices; the bus answered $answers times meanwhile"
