#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The main job, to watch: several different simulated devices are flashed at the same time by the real daemon over real
# libusb, libudev and D-Bus; one is pulled out in the middle, fails with its reason, and passes after a retry.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FDLD_BUILD=${FDLD_BUILD:?FDLD_BUILD is not set; use ./run demo}

# What is plugged in, socket by socket, and what is flashed onto it.
families=(phone-emmc phone-ufs-ab phone-nand uis8910 uis8850 feature-nor phone-old uis8910)
packages=(phone.pac phone-ab.pac phone-nand.pac uis8910_full.pac uis8850_full.pac feature.pac phone-old.pac uis8910_full.pac)

# Colours on a terminal only, not in a log.
bold='' cyan='' plain=''
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
        bold=$'\033[1m' cyan=$'\033[36m' plain=$'\033[0m'
fi
export PAGER=cat # nobody is there to leave a pager
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() {
        printf '%s$ %s%s\n' "$cyan" "$*" "$plain"
        "$@"
}

outside() {
        WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-demo.XXXXXX")
        trap 'rm -rf "$WORK"' EXIT
        trap 'exit 130' INT TERM
        export WORK FDLD_BUILD
        local family
        for family in phone phone-ab phone-nand phone-old feature; do
                "$FDLD_BUILD/pacmaker" "$family" "$WORK/$family.pac" >/dev/null
        done
        if [ -n "${FDLD_TEST_PACS:-}" ]; then
                local package
                for package in uis8850_full.pac uis8910_full.pac; do
                        [ -r "$FDLD_TEST_PACS/$package" ] && continue
                        echo "demo: FDLD_TEST_PACS=$FDLD_TEST_PACS has no $package. Unset it, and packages are generated." >&2
                        exit 1
                done
                ln -s "$FDLD_TEST_PACS/uis8850_full.pac" "$FDLD_TEST_PACS/uis8910_full.pac" "$WORK/"
        else
                echo "FDLD_TEST_PACS is not set: the modules get generated packages, not real ones."
                "$FDLD_BUILD/pacmaker" uis8850 "$WORK/uis8850_full.pac" >/dev/null
                "$FDLD_BUILD/pacmaker" uis8910 "$WORK/uis8910_full.pac" >/dev/null
        fi
        local devices=() i
        for i in "${!families[@]}"; do
                devices+=("--device=${families[i]},port=1-$((i + 1))")
        done
        "$FDLD_BUILD/usbsim" --storage="$WORK/flash" "${devices[@]}" \
                -- bash "$here/demo.sh" --inside
}

# job_of SLOT PACKAGE: queues a flash for the device in that socket, and says the job's number.
job_of() { fdlctl -q flash "$2" --slot="$1" --no-wait | sed 's/^job //'; }

label_of() { echo "$1 ${families[$1 - 1]}"; }

label_slots() {
        local i port
        i=0
        for port in $(fdlctl slots --json=short | grep -o '"Port":"[^"]*"' | cut -d'"' -f4 | sort); do
                i=$((i + 1))
                fdlctl label "$port" "$(label_of "$i")"
        done
        [ "$i" -eq "${#families[@]}" ] || fail "${#families[@]} devices are plugged in, but $i slots are known"
}

# What the devices hold now, compared by a program that knows nothing of the daemon.
compare_flash() {
        local i package
        [ -x "$FDLD_BUILD/flashcheck" ] || return 0 # built only where the unit test library is
        for i in "${!packages[@]}"; do
                package=${packages[i]}
                "$FDLD_BUILD/flashcheck" "$WORK/$package" "$WORK/before/$i" "$WORK/flash/$i" || fail "flash of device $((i + 1)) is not what it must be"
        done
        say "All eight flash memories were compared byte for byte: the packages' bytes, and each unit's own calibration and IMEIs."
}

inside() {
        # shellcheck source=tests/e2e/station.sh
        . "$here/station.sh"
        trap stop_station EXIT
        mkdir -p "$WORK/etc"
        # The modules' ids belong to other gadgets too; a station that flashes them says so.
        printf '[Station]\nName=demo\n\n[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >"$WORK/etc/fdld.conf"
        start_bus
        start_daemon

        cp -a "$WORK/flash" "$WORK/before"
        say "Eight devices of seven families in boot mode are plugged in: phones with eMMC, with UFS and two slots, with NAND, an old
one, a feature phone, and cellular modules of two kinds."
        label_slots
        run fdlctl devices
        say "Seven firmware packages are copied into the store and checked."
        (cd "$WORK" && run fdlctl -q import phone.pac phone-ab.pac phone-nand.pac uis8910_full.pac uis8850_full.pac feature.pac phone-old.pac)
        run fdlctl packages

        say "All eight are flashed at the same time."
        local jobs=() i
        for i in $(seq "${#packages[@]}"); do
                jobs+=("$(job_of "$(label_of "$i")" "${packages[i - 1]}")")
        done
        (
                # Somebody pulls the fourth device while it is being written.
                simctl '{"cmd":"wait","device":"3","bytes":600000,"timeout":60000}' >/dev/null
                simctl '{"cmd":"unplug","device":"3"}' >/dev/null
        ) &
        local puller=$! status=0
        run fdlctl wait "${jobs[@]}" || status=$?
        wait "$puller"
        say "fdlctl's exit code is $status: the unit in socket 4, the module, must be flashed again. The others did not notice."
        [ "$status" -eq 10 ] || fail "the pulled device should have given exit code 10, not $status"
        run fdlctl slots

        say "The job is tried again, and the device is plugged in again."
        (
                sleep 1
                simctl '{"cmd":"plug","device":"3"}' >/dev/null
        ) &
        local plugger=$!
        run fdlctl retry "${jobs[3]}" || fail "the retried job failed"
        wait "$plugger"

        say "The end: every unit passed."
        run fdlctl jobs
        run fdlctl slots
        compare_flash
        stop_station
        trap - EXIT
}

if [ "${1:-}" = --inside ]; then
        inside
else
        outside
fi
