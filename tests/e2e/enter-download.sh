#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# From a running system into download mode, by software: only where the settings allow it, only as the first step of a job whose package
# writes the first boot stage, also where the system erases that on the way. What ignores or refuses the wish, or is held by a driver: said,
# and the unit is as it was.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --controllers=4 --device=phone-emmc,name=phone,system=obeys --device=phone-emmc,name=erases,system=erases \
        --device=phone-emmc,name=deaf,system=deaf --device=phone-emmc,name=held,system=obeys,held=usbserial \
        --device=uis8910,name=module,system=star --device=uis8850,name=refuses,system=refuses
trap stop_station EXIT
mkdir -p "$WORK/etc"
settings() {
        printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n%s\n[Timeouts]\nSoftEntrySec=2\nSecondEnumerationSec=10\n' "$1" >"$WORK/etc/fdld.conf"
}
settings ""
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=256K --size=BOOT=256K >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/no-spl.pac" --size=System=256K --size=BOOT=256K --remove=SPLLoader --remove=EraseSPL >/dev/null
"$FDLD_BUILD/pacmaker" uis8910 "$WORK/module.pac" >/dev/null
"$FDLD_BUILD/pacmaker" uis8850 "$WORK/other.pac" >/dev/null
start_bus
start_daemon
cd "$WORK"
expect 0 fdlctl -q import phone.pac no-spl.pac module.pac other.pac
rm ./*.pac
bootable() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -q '"bootable":true'; }
untouched() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -q '"bytes":0,' || fail "$1 was sent something"; }

# off unless the settings say so; a package must write the first boot stage; a slot is named
expect 0 fdlctl devices
says "not-boot"
expect 9 fdlctl -q --yes enter-download phone.pac --slot="$(port_of phone)"
says "AllowSoftEntry=1782:4d03"
untouched phone
settings "AllowSoftEntry=1782:4d03 2c7c:0901 2c7c:0904"
kill -HUP "$daemon_pid"
sleep 0.3
expect 9 fdlctl -q --yes enter-download no-spl.pac --slot="$(port_of phone)"
says "writes no first boot stage"
expect 2 fdlctl -q --yes enter-download phone.pac
says "--slot="
expect 2 fdlctl -q enter-download phone.pac --slot="$(port_of phone)"
says "Add --yes"
expect 0 fdlctl --dry-run enter-download phone.pac
says "enter-download"
untouched phone

# an ordinary flash leaves a running system alone
start_job flash phone.pac --slot="$(port_of phone)"
sleep 0.3
expect 0 fdlctl -q cancel "$job"
untouched phone

expect 0 fdlctl -q --timeout=600 --yes enter-download phone.pac --slot="$(port_of phone)"
bootable phone || fail "the phone does not start"
expect 0 fdlctl -j history
says "download mode was asked for on the diag port"
expect 0 fdlctl -q --timeout=600 --yes enter-download phone.pac --slot="$(port_of erases)"
bootable erases || fail "the phone whose boot stage was erased does not start"
expect 0 fdlctl -q --timeout=600 --yes enter-download module.pac --device="$(port_of module)"
bootable module || fail "the module does not start"

cp -a --sparse=always flash/deaf before
expect 4 fdlctl -q --timeout=600 --yes enter-download phone.pac --slot="$(port_of deaf)"
says "handshake-silent-soft-entry"
says "ignored the command on its diag port"
says "power key"
diff -r before flash/deaf >/dev/null || fail "the deaf phone was changed"
expect 1 fdlctl -q --timeout=600 --yes enter-download phone.pac --slot="$(port_of held)"
says "The kernel driver usbserial holds interface 0"
untouched held
expect 4 fdlctl -q --timeout=600 --yes enter-download other.pac --slot="$(port_of refuses)"
says "handshake-refused-soft-entry"
stop_station
trap - EXIT
echo "1 passed, 0 failed"
