#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Jobs without a package: their loaders come from the catalogue; what is not certain is never guessed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone --device=phone-ufs-ab,name=ab,port=1-2
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Timeouts]\nSyncFdl1WindowSec=2\nExecFdl2MSec=2000\n' >"$WORK/etc/fdld.conf"
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=1M >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/newer.pac" --set=version=2 --size=System=1M >/dev/null
"$FDLD_BUILD/pacmaker" phone-ab "$WORK/ab.pac" >/dev/null
start_bus
start_daemon
cd "$WORK"

expect 2 fdlctl -q read --device="$(port_of phone)" boot=x.img
says "The store has no package"
expect 0 fdlctl loaders
expect 0 fdlctl -q import phone.pac newer.pac ab.pac
expect 0 fdlctl --no-legend loaders
[ "$(wc -l <out)" -eq 2 ] || fail "two packages with the same loaders are one pair: $(cat out)"
expect 0 fdlctl -j loaders
says '"fdl1-address":21760'
says '"packages":2'
says '"worked":0'
hash=$(tr '{' '\n' <out | grep '"product":"SIMPHONE"' | grep -o '"hash":"[0-9a-f]*"' | cut -d'"' -f4)

# several that differ: none is taken
expect 2 fdlctl -q read --device="$(port_of phone)" boot=x.img
says "Several loaders could be meant, and they differ"
says "SIMPHONE_AB"
[ ! -e x.img ] || fail "a file was made"
expect 2 fdlctl -q read --loaders=nonesuch --device="$(port_of phone)" boot=x.img
says "No loaders of the store fit 'nonesuch'"
expect 2 fdlctl -q read --loaders="$hash" --package=phone.pac --device="$(port_of phone)" boot=x.img

# named: by hash, by product
expect 0 fdlctl -q --timeout=600 read --loaders="${hash:0:8}" --device="$(port_of phone)" boot=x.img
[ -s x.img ] || fail "nothing was read"
expect 0 fdlctl -q --timeout=600 read --loaders=SIMPHONE_AB --device="$(port_of ab)" boot_a=y.img

# the last unit in the slot tells
simctl '{"cmd":"replug","device":"phone"}' >/dev/null
expect 0 fdlctl -q --timeout=600 read --length=4K --slot="$(port_of phone)" boot=z.img
cmp -n 4096 x.img z.img || fail "not the same"
expect 0 fdlctl -j show 6
says '"Note":"loaders '
says "as for the last unit in this slot"

# another unit there: they do not start, and that is told next time, also after a restart
simctl '{"cmd":"unplug","device":"phone"}' >/dev/null
simctl '{"cmd":"replug","device":"ab"}' >/dev/null
expect 4 fdlctl -q --timeout=600 read --loaders=SIMPHONE --slot="$(port_of ab)" boot_a=w.img
fdlctl -j loaders >before.json
grep -q '"failed":1' before.json || fail "the failure was not counted: $(cat before.json)"
grep -q '\["1782:4d00",' before.json || fail "nobody said what this unit is, so its id stands for it: $(cat before.json)"
grep -q '"signature":"none"' before.json || fail "these loaders are not signed"
stop_daemon
start_daemon
packages_ready
fdlctl -j loaders >after.json
cmp before.json after.json || fail "the catalogue is not what it was before the restart"
expect 0 fdlctl history --loaders="${hash:0:8}"
says "exec-fdl"

# what the slot was last started with also survives; the other slot's unit is another model: a write needs to know better
simctl '{"cmd":"replug","device":"phone"}' >/dev/null
expect 0 fdlctl -q --timeout=600 read --length=4K --force --slot="$(port_of phone)" boot=z.img
cmp -n 4096 x.img z.img || fail "not the same"

# named by a package, they fail on that model; said before the next attempt and behind it
"$FDLD_BUILD/pacmaker" phone "$WORK/wrong.pac" --set=product=SIMPHONE_AB --size=System=1M >/dev/null
for _ in 1 2; do
        simctl '{"cmd":"replug","device":"ab"}' >/dev/null
        expect 4 fdlctl --timeout=600 flash --yes wrong.pac --slot="$(port_of ab)"
done
says "earlier:       The same loaders (${hash:0:8}) have failed on this model (SIMPHONE_AB) 1 time before and never worked on it"
says "noted:         loaders ${hash:0:8} are known to fail on SIMPHONE_AB: they failed 1 time, last with exec-fdl1-silent"
job=$(fdlctl --no-legend jobs | tail -1 | cut -d' ' -f1)
expect 0 fdlctl -j show "$job"
says "are known to fail on SIMPHONE_AB: they failed 1 time"
says '"notes":["The same loaders'
expect 0 fdlctl -j history --limit=1
says '"statistics":["The same loaders'
says '"outcome":"failed"'
expect 0 fdlctl history --check

# the pair outlives its packages, and is not used without them
for name in ab wrong phone newer; do
        expect 0 fdlctl -q remove "$(fdlctl -j packages | tr '{' '\n' | grep "\"Name\":\"$name.pac\"" | grep -o '"Digest":"[0-9a-f]*"' | cut -d'"' -f4)"
done
expect 0 fdlctl loaders
says "ab.pac (removed)"
simctl '{"cmd":"replug","device":"phone"}' >/dev/null
expect 2 fdlctl -q read --slot="$(port_of phone)" boot=v.img
says "fit, but the package that brought them"

# loaders that nobody named may read what they like, but write only where storage and table are those of their package
"$FDLD_BUILD/pacmaker" phone "$WORK/odd.pac" --size=System=1M --partitions=boot=3,system=0xFFFFFFFF >/dev/null
expect 0 fdlctl -q import odd.pac
head -c 4096 x.img >small.img
expect 5 fdlctl --timeout=600 write --yes --any-image --slot="$(port_of phone)" boot=small.img
says "identify-mismatch-loaders"
says "nobody named the loaders"
simctl '{"cmd":"replug","device":"phone"}' >/dev/null
expect 0 fdlctl -q --timeout=600 write --yes --any-image --loaders="${hash:0:8}" --slot="$(port_of phone)" boot=small.img
"$FDLD_BUILD/pacmaker" uis8910 "$WORK/module.pac" >/dev/null
expect 0 fdlctl -q import module.pac
expect 0 fdlctl loaders
says "uimage"
expect 2 fdlctl -q read --loaders=uis8910 --slot="$(port_of ab)" boot_a=v.img
says "No loaders of the store fit 'uis8910'"
stop_station
trap - EXIT
echo "1 passed, 0 failed"
