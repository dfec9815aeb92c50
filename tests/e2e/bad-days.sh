#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What goes wrong around the daemon: packages, descriptors, the state directory, nodes, interfaces, a second daemon.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=closed,perm=denied --device=phone-emmc,name=held,port=1-2,held-by=program \
        --device=phone-emmc,name=driver,port=1-3,held=usbserial --device=phone-emmc,name=good,port=1-4
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon

# packages
expect 3 fdlctl -q import "$WORK/missing.pac"
head -c 100000 "$WORK/phone.pac" >"$WORK/short.pac"
expect 9 fdlctl -q import "$WORK/short.pac"
says "import-plan"
mkfifo "$WORK/pipe.pac"
expect 9 fdlctl -q import "$WORK/pipe.pac"
says "is not a plain file"
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 3 fdlctl -q flash 0123456789abcdef
says "There is no package"
expect 2 fdlctl -q flash phone.pac
says "Several devices are plugged in"

# nodes and interfaces
expect 1 fdlctl -q --timeout=600 flash phone.pac --slot="$(port_of closed)"
says "claim-host-permission"
expect 1 fdlctl -q --timeout=600 flash phone.pac --slot="$(port_of held)"
says "claim-host-busy"
# A kernel driver gives way.
expect 0 fdlctl -q --timeout=600 flash phone.pac --slot="$(port_of driver)"

# a second daemon
mkdir -p "$WORK/run2"
status=0
STATE_DIRECTORY=$WORK/state RUNTIME_DIRECTORY=$WORK/run2 CONFIGURATION_DIRECTORY=$WORK/etc \
        timeout 120 "$FDLD_BUILD/fdld" >"$WORK/out" 2>"$WORK/err" || status=$?
[ "$status" -ne 0 ] && [ "$status" -ne 124 ] || fail "a second daemon started on the same state directory"
says "$WORK/state"

# configuration
mkdir -p "$WORK/etc2"
printf '[Station]\nNmae=x\n' >"$WORK/etc2/fdld.conf"
status=0
STATE_DIRECTORY=$WORK/state3 RUNTIME_DIRECTORY=$WORK/run2 CONFIGURATION_DIRECTORY=$WORK/etc2 \
        timeout 120 "$FDLD_BUILD/fdld" >"$WORK/out" 2>"$WORK/err" || status=$?
[ "$status" -ne 0 ] && [ "$status" -ne 124 ] || fail "an unknown key was accepted"
says "fdld.conf:2"

# a package cannot go while a job needs it; a job that waits is cancelled at once
good=$(port_of good)
simctl '{"cmd":"unplug","device":"good"}' >/dev/null
start_job flash phone.pac --slot="$good"
expect 1 fdlctl remove phone.pac
says "uses this package"
expect 0 fdlctl cancel "$job"
expect 6 fdlctl -q wait "$job"
expect 3 fdlctl wait 999999
says "There is no job 999999"
expect 0 fdlctl remove phone.pac
expect 3 fdlctl remove phone.pac
stop_station
trap - EXIT
echo "all bad days survived"
