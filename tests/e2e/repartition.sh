#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A new partition table on phones with two slots: refused without the option, made with it, the unit's own data as before; cable pulled
# and daemon killed in the middle of it, and the next job finishes. FDLD_LONG=1: at many more places.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
points=("at=fdl2:erase:#1 disconnect" "at=fdl2:repartition disconnect" "at=fdl2:repartition drop-ack" "at=fdl2:start:#1 disconnect"
        "at=fdl2:midst:#3 disconnect" "at=fdl2:read-start:#14 disconnect")
kills=(erase:#1 repartition midst:#2)
if [ -n "${FDLD_LONG:-}" ]; then
        for n in 2 3 4 5 6 8 10 12; do points+=("at=fdl2:start:#$n disconnect" "at=fdl2:midst:#$n disconnect" "at=fdl2:end:#$n disconnect"); done
        for n in $(seq 2 2 40); do points+=("at=fdl2:read-start:#$n disconnect"); done
        for n in 1 2 3 4 5 6 7 8; do kills+=("midst:#$((n * 3))" "start:#$n" "end:#$n" "read-midst:#$((n * 20))"); done
fi
unit="phone-ufs-ab,size=512M,fixnv=0x180000,table=$here/repartition.table"
enter_world --fast --controllers=2 --device="$unit,name=one" --device="$unit,name=two,plug=no" --device="$unit,name=left,plug=no"
trap stop_station EXIT
mkdir -p "$WORK/etc"
cat >"$WORK/etc/fdld.conf" <<'CONF'
[Timeouts]
SyncBromWindowSec=4
SyncFdl1WindowSec=2
Learn=no
ConnectMSec=1000
StartMSec=1500
MidstMSec=1500
MidstLastMSec=1500
EndMSec=1500
ExecFdl1MSec=500
ExecFdl2MSec=2000
EraseMSec=1500
ReadMSec=1500
ResetMSec=1000
OtherMSec=1000
RepartitionMSec=1500
CONF
table=
while read -r name _ after; do
        [ "$after" != rest ] || after=0xFFFFFFFF
        case $name in '' | '#'*) ;; *) table+=${table:+,}$name=$after ;; esac
done <"$here/repartition.table"
"$FDLD_BUILD/pacmaker" phone-ab "$WORK/ab.pac" --remove=CH_SYS --size=Super=2M --size=BOOT=512K --size=Vendor_boot=512K --size=FDL2=128K \
        --file=NV_NR=limit=0x100000 --file=ProdNV=limit=0x400000 --partitions="$table" >/dev/null
start_bus
start_daemon
cp -a "$WORK/flash/one" "$WORK/before"

# own UNIT: calibration, serials and IMEIs of the unit are what they were when it was new
own() {
        local f
        for f in prodnv calinv; do
                cmp -n "$(stat -c %s "$WORK/before/parts/$f")" "$WORK/before/parts/$f" "$WORK/flash/$1/parts/$f" >&2 || fail "$1: $f is not as it was"
        done
        cmp -n 9000 "$WORK/before/parts/miscdata" "$WORK/flash/$1/parts/miscdata" >&2 || fail "$1: miscdata is not as it was"
        for f in nr_fixnv1_a nr_fixnv1_b nr_fixnv2_a nr_fixnv2_b; do
                "$FDLD_BUILD/flashcheck" --nv "$WORK/before/parts/nr_fixnv1_a" "$WORK/flash/$1/parts/$f" >&2 || fail "$1: $f is not as it was"
        done
}
bootable() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -q '"bootable":true'; }

# without the option
expect 5 fdlctl -q flash "$WORK/ab.pac" --device="$(port_of one)"
says "miscdata is 1 MiB on the device, 2 MiB in the package"
diff -r "$WORK/before" "$WORK/flash/one" >/dev/null || fail "a refused unit was changed"
expect 0 fdlctl plan "$WORK/ab.pac" --repartition
says "user data too"
expect 0 fdlctl --dry-run flash ab.pac --repartition
says "repartition"

# with it, on the unit where it sits
expect 0 fdlctl -q --timeout=600 flash ab.pac --repartition --device="$(port_of one)"
own one
bootable one || fail "it does not start"
expect 0 fdlctl -j show 3
says "partition table changed: miscdata is 1 MiB on the device, 2 MiB in the package"
says "put back, as the unit's own: miscdata"
# once more: nothing to change
simctl '{"cmd":"replug","device":"one"}' >/dev/null
expect 0 fdlctl -q --timeout=600 flash ab.pac --repartition --slot="$(port_of one)"
own one
simctl '{"cmd":"unplug","device":"one"}' >/dev/null

# the table alone
simctl '{"cmd":"plug","device":"left"}' >/dev/null
cp -a "$WORK/flash/left" "$WORK/left"
cp -a "$WORK/flash/left/." "$WORK/before/"
expect 0 fdlctl -q --timeout=600 repartition ab.pac --slot="$(port_of left)"
own left
cmp "$WORK/left/boot1.bin" "$WORK/flash/left/boot1.bin" || fail "the boot stage was touched"

# undone with the table that the vault has, and made again with one from a file; another unit does not get it
sizes() { (cd "$WORK/flash/$1/parts" && stat -c '%n %s' miscdata nr_fixnv1_a nr_runtimenv1 calinv); }
old=$(cd "$WORK/left/parts" && stat -c '%n %s' miscdata nr_fixnv1_a nr_runtimenv1 calinv) new=$(sizes left)
expect 0 fdlctl -j vault
id=$(grep -o '{[^{]*"partition":"partition-table"[^{]*}' "$WORK/out" | head -n 1 | grep -o '"id":"[^"]*"' | cut -d'"' -f4)
simctl '{"cmd":"replug","device":"left"}' >/dev/null
expect 0 fdlctl -q --timeout=600 --yes --package=ab.pac vault restore "$id" --slot="$(port_of left)"
[ "$(sizes left)" = "$old" ] || fail "the table is not the old one: $(sizes left)"
own left
simctl '{"cmd":"replug","device":"left"}' >/dev/null
sed -n 's/^\([a-z_0-9]*\) [0-9]* \([0-9]*\)$/\1 \2M/p; s/^\([a-z_0-9]*\) .* rest$/\1 rest/p' "$here/repartition.table" >"$WORK/table"
expect 2 fdlctl -q --package=ab.pac repartition "$WORK/table" --slot="$(port_of left)"
expect 0 fdlctl -q --timeout=600 --yes --package=ab.pac repartition "$WORK/table" --slot="$(port_of left)"
[ "$(sizes left)" = "$new" ] || fail "the table is not that of the file: $(sizes left)"
own left
simctl '{"cmd":"replug","device":"left"}' >/dev/null
grep -v calinv "$WORK/table" >"$WORK/without"
expect 5 fdlctl -q --timeout=600 --yes --package=ab.pac repartition "$WORK/without" --slot="$(port_of left)"
says "calinv holds data of this unit alone"
(cat "$WORK/table" && echo boot 1M) >"$WORK/bad"
expect 9 fdlctl -q --yes --package=ab.pac repartition "$WORK/bad" --slot="$(port_of left)"
says "takes the rest and is not the last"
echo "boot some" >"$WORK/bad"
expect 2 fdlctl -q --yes --package=ab.pac repartition "$WORK/bad" --slot="$(port_of left)"
simctl '{"cmd":"plug","device":"two"}' >/dev/null
expect 5 fdlctl -q --timeout=600 --yes --package=ab.pac vault restore "$id" --slot="$(port_of two)"
says "this is another one"
simctl '{"cmd":"unplug","device":"two"}' >/dev/null
simctl '{"cmd":"unplug","device":"left"}' >/dev/null

fresh() { # a new unit in the socket of two
        simctl '{"cmd":"unplug","device":"two"}' >/dev/null 2>&1 || true
        simctl "{\"cmd\":\"swap\",\"device\":\"two\",\"spec\":\"$unit,name=two\"}" >"$WORK/out" || fail "no new unit: $(cat "$WORK/out")"
        flash=$(cd "$WORK/flash" && ls -d two* | sort -V | tail -n 1)
        rm -rf "$WORK/before"
        cp -a "$WORK/flash/$flash" "$WORK/before"
        simctl '{"cmd":"plug","device":"two"}' >/dev/null
}

# pulled: the unit does not start half made, and the next job finishes
for point in "${points[@]}"; do
        fresh
        simctl "{\"cmd\":\"fault\",\"device\":\"two\",\"fault\":\"$point\"}" >/dev/null
        start_job flash ab.pac --repartition --slot="$(port_of two)"
        first=$job
        fdlctl -q --timeout=600 wait "$first" >"$WORK/out" 2>"$WORK/err" && fail "$point: it passed"
        expect 0 fdlctl -j show "$first"
        if grep -q '"Stage":"\(identify\|backup\)"' "$WORK/out"; then # before the change
                says '"verdict":"unchanged"'
                diff -r "$WORK/before" "$WORK/flash/$flash" >&2 || fail "$point: the unit was changed"
        else
                says "To finish: fdlctl retry $first"
        fi
        simctl '{"cmd":"replug","device":"two"}' >/dev/null
        expect 0 fdlctl -q --timeout=600 retry "$first"
        own "$flash"
        bootable two || fail "$point: it does not start"
done

# killed: the next daemon's next job finishes, without a power cycle where the loader still listens
for point in "${kills[@]}"; do
        fresh
        simctl "{\"cmd\":\"fault\",\"device\":\"two\",\"fault\":\"at=fdl2:$point slow=600\"}" >/dev/null
        start_job flash ab.pac --repartition --slot="$(port_of two)"
        first=$job
        for _ in $tries; do
                fdlctl -j show "$first" | grep -q '"Stage":"\(repartition\|restore\|erase\|write\|checking\|backup\)"' && break
                sleep 0.01
        done
        sleep 0.1
        kill -KILL "$daemon_pid"
        wait "$daemon_pid" 2>/dev/null || true
        start_daemon
        for _ in $tries; do # the package is looked at first
                fdlctl -q --no-wait retry "$first" >"$WORK/out" 2>"$WORK/err" && break
                sleep 0.05
        done
        job=$(sed -n 's/^job //p' "$WORK/out")
        expect 0 fdlctl -j show "$first"
        says '"Result":"interrupted"'
        if grep -q '"Stage":"\(repartition\|restore\|erase\|write\|checking\)"' "$WORK/out"; then says "To finish: fdlctl retry $first"; fi
        if ! fdlctl -q --timeout=600 wait "$job" >"$WORK/out" 2>"$WORK/err"; then
                [ -z "${FDLD_TELL:-}" ] || { echo "$point: needs a power cycle"; cat "$WORK/err"; }
                simctl '{"cmd":"replug","device":"two"}' >/dev/null
                start_job retry "$job"
                expect 0 fdlctl -q --timeout=600 wait "$job"
        fi
        own "$flash"
        bootable two || fail "$point: it does not start"
done
stop_station
trap - EXIT
echo "1 passed, 0 failed"
