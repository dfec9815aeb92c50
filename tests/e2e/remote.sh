#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Another machine over ssh: everything that needs no file goes over the bridge, packages are streamed into an fdlctl on the far side, the
# rest is refused in plain words; several hosts in one status. ssh is a stand-in that runs here what it would run there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
command -v systemd-stdio-bridge >/dev/null || { echo "skipped: systemd-stdio-bridge is not installed"; exit 77; }
enter_world --fast --device=phone-emmc,name=unit
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/it's a phone.pac" >/dev/null
start_bus
# shellcheck disable=SC2119
start_daemon
port=$(port_of unit)
mkdir "$WORK/bin"
ln -s "$FDLD_BUILD/fdlctl" "$WORK/bin/fdlctl"
cat >"$WORK/bin/ssh" <<END
#!/bin/bash
while [ \$# -gt 0 ] && [ "\$1" != -- ]; do shift; done
host=\$2
shift 2
echo "\$host: \$*" >>"$WORK/ssh.log"
case \$host in
*bench*) ;;
*) echo "ssh: Could not resolve hostname \$host" >&2; exit 255 ;;
esac
case \$1 in
systemd-stdio-bridge*) exec systemd-stdio-bridge -p "$DBUS_SYSTEM_BUS_ADDRESS" ;;
esac
export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SYSTEM_BUS_ADDRESS
exec sh -c "\$*"
END
chmod +x "$WORK/bin/ssh"
PATH=$WORK/bin:$PATH
# From here on only the far side knows the bus.
far() { DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere fdlctl "$@"; }

expect 8 far status
expect 0 far -H bench1 status
says "0 running"
expect 0 far -H user@bench1 devices --no-legend
says "unknown"
# the package crosses as a stream, its name as it is
expect 0 far -q -H bench1 import "$WORK/it's a phone.pac"
says "package "
expect 0 fdlctl -j packages
says "it's a phone.pac"
expect 0 far -q -H bench1 flash "it's a phone.pac"
expect 0 fdlctl -j jobs
says '"Result":"done"'
# a file that is given is sent first, then flashed
cp "$WORK/it's a phone.pac" "$WORK/second.pac"
expect 0 far -H bench1 flash "$WORK/second.pac" --slot="$port" --no-wait
says "job "
simctl '{"cmd":"replug","device":"unit"}' >/dev/null
job=$(sed -n 's/^job //p' "$WORK/out")
expect 0 far -q -H bench1 --timeout=600 wait "$job"
# what cannot be sent is refused before anything is done
expect 9 far -H bench1 import "$WORK"
says "not a plain file"
expect 2 far -H bench1 import --no-wait "$WORK/second.pac"
says "without waiting"
expect 2 far -H bench1 write boot="$WORK/second.pac" --package="it's a phone.pac" --slot="$port" --yes
says "does not go through -H"
expect 2 far -H bench1 read boot="$WORK/boot.bin" --package="it's a phone.pac" --slot="$port"
says "does not go through -H"
[ ! -e "$WORK/boot.bin" ] || fail "a file was made though nothing was read"
expect 2 far -H bench1 trace 1
says "Run it there"
jobs=$(fdlctl jobs --no-legend | wc -l)
mkdir "$WORK/saved"
for verb in "write boot=x" "backup $WORK/new" "restore $WORK/saved" "verify $WORK/saved" "repartition $WORK/saved" "repair --from=$WORK/saved" "vault export $WORK/new" \
        "vault import $WORK/saved" "logs 1" "bundle 1" doctor; do
        # shellcheck disable=SC2086 # words
        expect 2 far -H bench1 $verb
        says "Run it there: ssh bench1 fdlctl ${verb%% *}"
done
[ "$(fdlctl jobs --no-legend | wc -l)" = "$jobs" ] && [ ! -e "$WORK/new" ] || fail "something was done before it was refused"
expect 2 far -H bench1 inspect "$WORK/second.pac"
says "needs no daemon"
# hosts
expect 2 far -H -oProxyCommand=x status
says "is no host"
expect 8 far -H elsewhere status
says "elsewhere"
expect 8 far -H elsewhere import "$WORK/second.pac"
says elsewhere
expect 8 far -H bench1,elsewhere,bench2 status
says "bench2:"
[ "$(grep -c ' running, ' "$WORK/out")" = 2 ] || fail "two hosts were not shown"
expect 0 far -H bench1,bench2 -j status
[ "$(grep -c '"host":"bench' "$WORK/out")" = 2 ] || fail "two hosts were not told apart"
for verb in "flash x.pac" "trace 1" doctor; do
        # shellcheck disable=SC2086 # words
        expect 2 far -H bench1,bench2 $verb
        says "Several hosts can only be looked at"
done
# a pipe on this machine
expect 9 sh -c 'printf x | fdlctl import --name=x.pac -'
expect 0 sh -c "fdlctl -q import --name=piped.pac - <'$WORK/second.pac'"
trap - EXIT
stop_station
echo "another machine over ssh: looked at, sent to, flashed; what does not go through is refused"
