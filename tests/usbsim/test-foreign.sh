#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A client that shares nothing with fdld takes simulated phones from the boot ROM to a partition that it wrote and read
# back; the flash holds the image and the phone boots. Exit status 77 where this machine cannot make the world.
set -euo pipefail
usbsim=${USBSIM:-./usbsim} foreign=${FOREIGN:-./foreign}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/fdld-foreign.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

"$usbsim" -- true || exit $?
# Both bytes that are escaped, long runs of them, and a tail that fills no block.
{
        head -c 70000 /dev/zero | tr '\0' '~'
        head -c 70000 /dev/zero | tr '\0' '}'
        head -c 400000 "$foreign"
        printf 'the end of it.'
} >"$scratch/image"
[ $(($(stat -c %s "$scratch/image") % 2)) -eq 0 ] || printf '!' >>"$scratch/image"

# flash WHAT SIMULATOR-OPTIONS DEVICE-OPTIONS [CLIENT OPTION…]
flash() {
        local what=$1 world=$2 device=$3 log=$scratch/log
        shift 3
        rm -rf "$scratch/flash"
        # shellcheck disable=SC2086 # the world's options are words
        timeout 100 "$usbsim" $world --storage="$scratch/flash" --device="phone-emmc$device" -- sh -c '
                client=$1 usbsim=$2
                shift 2
                "$client" "$@" &&
                        "$usbsim" --ctl "{\"cmd\":\"wait\",\"device\":\"0\",\"until\":\"present=false\",\"timeout\":20000}" >/dev/null' \
                sh "$foreign" "$usbsim" "$@" logo "$scratch/image" >"$log" 2>&1 || {
                cat "$log"
                echo "FAILED: $what"
                exit 1
        }
        cmp -n "$(stat -c %s "$scratch/image")" "$scratch/image" "$scratch/flash/0/parts/logo" || {
                echo "FAILED: $what: flash is not what was written"
                exit 1
        }
}

flash "high speed, escaping" --fast ""
flash "high speed, no escaping" --fast "" --plain
flash "full speed" --fast ",speed=full"
flash "SuperSpeed, no escaping" --fast ",speed=super" --plain
flash "log frames between" --fast ",glue-log=3"
flash "device info as records" --fast ",info=tlv" --plain
flash "an old loader that only acknowledges" --fast ",info=ack"
flash "three sync bytes lost" --fast ",drop-sync=3"
flash "as slow as a real one" "" ""
echo "9 sessions of a foreign client"
