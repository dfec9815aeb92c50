#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Jobs made of steps: read, write, erase by name and by address; names, sizes and images are refused before the first write; readings are
# whole files or parts that the next one goes on with; attached files survive a restart.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone --device=phone-ufs-ab,name=ab,port=1-2 --device=feature-nor,name=nor,port=1-3
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
"$FDLD_BUILD/pacmaker" phone-ab "$WORK/ab.pac" >/dev/null
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac" "$WORK/ab.pac"
phone=$(port_of phone) ab=$(port_of ab)
cd "$WORK"
on_phone="--device=$phone --package=phone.pac -q"
on_ab="--device=$ab --package=ab.pac -q"

# What a whole partition holds, hashed by the daemon, checked by the client.
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone read boot=boot.img
[ -s boot.img ] && [ ! -e boot.img.part ] && [ ! -e boot.img.run ] || fail "not one whole file"
size=$(stat -c %s boot.img)
# shellcheck disable=SC2086
expect 9 fdlctl $on_phone read boot=boot.img
says "exists already"
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone read --offset=4096 --length=8192 boot=piece.img
cmp <(tail -c +4097 boot.img | head -c 8192) piece.img || fail "the piece is not from its place"

# Write back something else, read it again.
head -c 3000000 /dev/urandom >noise
# shellcheck disable=SC2086
expect 2 fdlctl $on_phone write logo=noise
says "Add --yes"
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone --dry-run write logo=noise
says "logo"
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone --yes --finish=nothing write logo=noise
# The record knows the very bytes that were sent, not those of the package.
expect 0 fdlctl -j history --kind=write --limit=1
says "$(sha256sum <noise | cut -c1-64)"
says '"id":"fdl1"'
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone read --length=3000000 logo=noise.back
cmp noise noise.back || fail "what was written is not what is there"
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone --yes --finish=nothing erase logo
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone read --length=64K logo=erased
tr -d '\000\377' <erased | grep -q . && fail "the partition was not erased"

# Refused before the first write, each for its reason.
before=$(simctl '{"cmd":"describe","device":"phone"}' | grep -o '"bytes_written":[0-9]*')
printf 'AVB0%01000d' 0 >vbmeta.img
# shellcheck disable=SC2086
{
        expect 9 fdlctl $on_phone --yes write boot=vbmeta.img
        says "an Android boot image belongs there"
        expect 9 fdlctl $on_phone --yes write bot=noise
        says "the device has no partition bot; it has"
        expect 9 fdlctl $on_phone --yes write misc="$WORK/phone.pac"
        expect 9 fdlctl $on_phone --yes write 0x60000000=noise
        says "by partition name"
        truncate -s "$((size + 4096))" huge
        expect 9 fdlctl $on_phone --yes --any-image write boot=huge
        says "the partition"
        expect 2 fdlctl $on_phone --yes write boot
        expect 3 fdlctl $on_phone --yes write boot=nothing-there
}
[ "$(simctl '{"cmd":"describe","device":"phone"}' | grep -o '"bytes_written":[0-9]*')" = "$before" ] || fail "something was written all the same"
# shellcheck disable=SC2086
expect 9 fdlctl $on_ab --yes write boot=boot.img
says "boot_a or boot_b"
# shellcheck disable=SC2086
expect 9 fdlctl $on_ab --yes --finish=nothing write boot_b=noise
says "data of no known kind"
# shellcheck disable=SC2086
expect 0 fdlctl $on_ab --yes --finish=nothing --any-image write boot_b=boot.img
# shellcheck disable=SC2086
expect 0 fdlctl $on_ab read --length="$size" boot_b=boot_b.img
cmp boot.img boot_b.img || fail "boot_b is not what was written"

# By address: what does not fit into its area is refused before another step is done.
nor="--device=$(port_of nor) --package=nor.pac -q"
"$FDLD_BUILD/pacmaker" feature nor.pac >/dev/null
head -c 262145 /dev/zero >large && head -c 1000 noise >little
# shellcheck disable=SC2086
expect 9 fdlctl $nor --yes write 0x90000004=little 0x80000004=large
says "the area at 0x80000004 has 262144"
simctl '{"cmd":"describe","device":"nor"}' | grep -q '"bytes_written":0' || fail "something was written all the same"

# Several steps in one job, own loaders, over the bus of a foreign client: tests/bus. Here: a drop-out in the middle of a reading.
simctl '{"cmd":"fault","device":"phone","fault":"at=fdl2:read-midst:9000000 disconnect count=1"}' >/dev/null || fail "no fault"
# shellcheck disable=SC2086
expect 4 fdlctl $on_phone read super=super.img
says "are proven and kept in super.img.part"
[ -s super.img.part ] && [ ! -e super.img ] || fail "no part was kept"
simctl '{"cmd":"unplug","device":"phone"}' >/dev/null 2>&1 || true
simctl '{"cmd":"plug","device":"phone"}' >/dev/null
# shellcheck disable=SC2086
expect 0 fdlctl --device="$phone" --package=phone.pac read super=super.img
says "going on at byte"
# shellcheck disable=SC2086
expect 0 fdlctl $on_phone read super=again.img
cmp super.img again.img || fail "the joined reading differs from one in one piece"

# The files of a queued job are ours: the client's may go, and so may the daemon.
simctl '{"cmd":"unplug","device":"phone"}' >/dev/null 2>&1 || true
slot=$(fdlctl slots --no-legend | awk -v p="$phone" '$0 ~ p { print $2 }')
expect 0 fdlctl -q --slot="${slot:-$phone}" --package=phone.pac --yes --no-wait write logo=noise
job=$(sed -n 's/^job //p' out)
cp noise kept
for _ in $tries; do
        [ -s "$WORK/state/spool/$job.json" ] && break
        sleep 0.05
done
rm noise
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
simctl '{"cmd":"plug","device":"phone"}' >/dev/null
expect 0 fdlctl -q --timeout=600 wait "$job"
[ ! -e "$WORK/state/spool/$job.bin" ] || fail "the spool was not cleared"
stop_station
trap - EXIT
echo "steps read, write and erase what they say, and nothing else"
