#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fdlctl doctor, with the daemon and without: it sees the devices, who holds one, a slow link, and that the daemon is away; the exit code
# tells whether something has to be done.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --hub 1-3,full --device=phone-emmc,name=phone,size=640M --device=phone-emmc,name=other,port=1-2,size=640M \
        --device=phone-emmc,name=slow,port=1-3.1,size=640M,power=auto,held=option,plug=no --device=phone-emmc,name=blocked,port=1-4,size=640M,authorized=no,plug=no
trap stop_station EXIT
start_bus
start_daemon

# finding CHECK: its line as JSON, the first
finding() {
        grep -o "{\"check\":\"$1\"[^}]*}" "$WORK/findings" | head -n 1
}
look() {
        code=0
        fdlctl --json=short doctor >"$WORK/findings" || code=$?
}

look
finding daemon | grep -q '"state":"good"' || fail "the daemon that answers is not good: $(cat "$WORK/findings")"
finding usb-devices | grep -q '2 devices in download mode' || fail "the devices are not seen: $(cat "$WORK/findings")"
[ -z "$(finding usb-held)" ] || fail "nobody holds a device: $(finding usb-held)"
for check in bus-policy udev-rule clock programs kernel group kernel-log versions usb-controller usb-hub usb-speed; do
        [ -n "$(finding $check)" ] || fail "nothing is said of $check: $(cat "$WORK/findings")"
done
grep -q '"state":"bad"' "$WORK/findings" && want=1 || want=0
[ "$code" = $want ] || fail "exit code $code instead of $want"

# What is wrong with a device, and the command that mends it.
simctl '{"cmd":"plug","device":"slow"}' >/dev/null
simctl '{"cmd":"plug","device":"blocked"}' >/dev/null
simctl '{"cmd":"set","device":"slow","held":"option"}' >/dev/null
look
bad() { # CHECK WORDS…: a finding of that name has them all
        local lines word
        lines=$(grep -o "{\"check\":\"$1\"[^}]*}" "$WORK/findings") || fail "nothing is said of $1: $(cat "$WORK/findings")"
        shift
        for word; do
                lines=$(grep -F -- "$word" <<<"$lines") || fail "no finding has \"$word\": $(cat "$WORK/findings")"
        done
}
bad usb-speed '"state":"bad"' 12 "1-3 (USB2.0 Hub)" "lsusb -t"
bad usb-hub '"state":"bad"' "The hub 1-3 (USB2.0 Hub) links at 12 Mbit/s"
bad usb-autosuspend "1-3.1" "echo on | sudo tee" power/control
bad usb-driver "kernel driver option" "tee /sys/bus/usb/drivers/option/unbind"
bad usb-authorized '"state":"bad"' "1-4" "echo 1 | sudo tee" authorized
bad usb-controller endpoints

# Another program has a device open.
node=$(for d in /sys/bus/usb/devices/*/; do
        [ "$(cat "$d/idProduct" 2>/dev/null)" != 4d00 ] || printf '/dev/bus/usb/%03d/%03d\n' "$(cat "$d/busnum")" "$(cat "$d/devnum")"
done | tail -n 1)
sleep 60 9<>"$node" &
holder=$!
look
finding usb-held | grep -q "\"state\":\"bad\".*process $holder.*kill $holder" || fail "who holds $node is not said: $(cat "$WORK/findings")"
[ "$code" = 1 ] || fail "exit code $code"
kill $holder

stop_daemon
look
finding daemon | grep -q '"state":"bad".*"command":"sudo systemctl start fdld' || fail "that the daemon is away is not said: $(cat "$WORK/findings")"
[ "$code" = 1 ] || fail "exit code $code"
fdlctl doctor >"$WORK/text" || true
grep -q '^bad   *daemon ' "$WORK/text" && grep -q 'findings need something' "$WORK/text" || fail "the text differs: $(cat "$WORK/text")"
trap - EXIT
stop_station
echo "the machine was examined with and without the daemon"
