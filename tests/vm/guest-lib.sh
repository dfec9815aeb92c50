# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Small things for guest.sh.

fail() {
        echo "FAIL: $*"
        {
                journalctl -q -b -u fdld -o short-monotonic | tail -n 60
                tail -n 20 /run/out
                dmesg | tail -n 30
        } >/host/evidence 2>&1
        echo fail >/host/verdict
        poweroff -ff
}
finish() {
        echo passed >/host/verdict
        systemctl poweroff
}
# check WHAT FUNCTION
check() {
        local before
        before=$(cut -d. -f1 /proc/uptime)
        "$2"
        echo "ok: $1 ($(($(cut -d. -f1 /proc/uptime) - before)) s)"
}
# within SECONDS COMMAND…: until it holds
within() {
        local end=$(($(cut -d. -f1 /proc/uptime) + $1))
        shift
        until "$@" >/dev/null 2>&1; do
                [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ] || return 1
                sleep 0.2
        done
}
# expect CODE COMMAND…: output in /run/out
expect() {
        local want=$1 got=0
        shift
        "$@" >/run/out 2>&1 </dev/null || got=$?
        [ "$got" -eq "$want" ] || fail "exit code $got instead of $want: $*: $(tail -n 5 /run/out)"
}
says() { grep -q -- "$1" /run/out || fail "\"$1\" is not said: $(cat /run/out)"; }
as() {
        local user=$1
        shift
        setpriv "--reuid=$user" "--regid=$user" --init-groups "$@"
}

code_of() { fdlctl jobs --no-legend | awk -v job="$1" '$1 == job { print $NF }'; }

# ---- simulated devices ----

field() { sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p"; }
describe() { usbsim --ctl "{\"cmd\":\"describe\",\"device\":\"$1\"}"; }
plug() { usbsim --ctl "{\"cmd\":\"plug\",\"device\":\"$1\"}" >/run/plugged || fail "$1 cannot be plugged in: $(cat /run/plugged)"; }
unplug() { usbsim --ctl "{\"cmd\":\"unplug\",\"device\":\"$1\"}" >/dev/null; }
# again UNIT…: plugged in, whatever was before
again() {
        local unit
        for unit; do
                unplug "$unit" || true
                within 30 gone_device "$unit" || fail "$unit left, and the daemon does not know"
                plug "$unit"
        done
        for unit; do within 60 has_device "$unit" || fail "$unit did not appear: $(fdlctl devices)"; done
}
fault() { usbsim --ctl "{\"cmd\":\"fault\",\"device\":\"$1\",\"fault\":\"$2\"}" >/dev/null || fail "no such fault: $2"; }
# writes UNIT BYTES: until so many more are in its flash
writes() {
        local bytes
        bytes=$(($(describe "$1" | field bytes_written) + $2))
        usbsim --ctl "{\"cmd\":\"wait\",\"device\":\"$1\",\"until\":\"bytes_written>$bytes\",\"timeout\":60000}" >/dev/null || fail "$1 was not written: $(describe "$1")"
}
# The simulator counts ports of its bus 1, which is the only high-speed bus here.
name_of() { describe "$1" | field port; }
port_of() { echo "platform-vhci_hcd.0-usb-0:$(name_of "$1" | cut -d- -f2)"; }
node_of() {
        local at
        at=/sys/bus/usb/devices/$(name_of "$1")
        printf '/dev/bus/usb/%03d/%03d\n' "$(cat "$at/busnum")" "$(cat "$at/devnum")"
}
has_device() { fdlctl -j devices | grep -qF "\"Port\":\"$(port_of "$1")\"" || fdlctl devices --no-legend | grep -qE "$(port_of "$1") "; }
gone_device() { ! has_device "$1"; }
