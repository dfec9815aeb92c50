#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The simulated world as a foreign client sees it. Exit status 77 where this machine cannot make one.
set -u
usbsim=${USBSIM:-./usbsim} probe=${PROBE:-./probe}
d="-d phone-emmc"
failed=0

"$usbsim" -- true
code=$?
[ $code -ne 77 ] || exit 77
[ $code -eq 0 ] || { echo "usbsim -- true: status $code"; exit 1; }

run() {
        local what=$1 code
        shift
        timeout 100 "$usbsim" --fast "$@"
        code=$?
        [ $code -eq 0 ] || { echo "FAILED: $what (status $code)"; failed=1; }
}

expect() {
        local what=$1 want=$2 code
        shift 2
        timeout 100 "$@" >/dev/null 2>&1
        code=$?
        [ $code -eq "$want" ] || { echo "FAILED: $what: status $code, not $want"; failed=1; }
}

run "enumeration" $d $d,port=1-5.2.4 $d,plug=no -- "$probe" devices 2
# shellcheck disable=SC2046 # many arguments
run "120 devices" $(yes -- "$d" | head -120) -- "$probe" devices 120
run "stepping back" --nice=7 $d -- sh -c 'grep -sh "^[0-9]* (usbsim)" /proc/[0-9]*/stat | cut -d" " -f19 | grep -qx $(($(nice) + 7))'
run "platform controllers" --platform --controllers=3 $d $d $d -- "$probe" devices 3
run "speeds" $d $d,port=1-3,speed=full $d,port=1-4,speed=super -- "$probe" speeds
run "monitor" $d -- "$probe" monitor
run "replugs" $d -- "$probe" replugs
run "claims" $d $d,held=usbserial $d,held-by=program $d,perm=denied -- "$probe" claims
run "permission" $d $d $d $d,perm=denied -- "$probe" denied
run "cancel" $d -- "$probe" cancel
run "unplug" $d -- "$probe" unplug
run "errors" $d -- "$probe" errors
run "blocked readers" $d -- "$probe" reap
run "poll" $d -- "$probe" poll
run "memory limit" $d $d -- "$probe" memory
run "children" $d -- "$probe" fork
# shellcheck disable=SC2046 # many arguments
run "32 devices" $(yes -- "$d" | head -32) -- "$probe" many 32

run "wait" $d -- sh -c "'$usbsim' --ctl '{\"cmd\":\"wait\",\"device\":\"0\",\"until\":\"present=true\"}' >/dev/null &&
        ! '$usbsim' --ctl '{\"cmd\":\"wait\",\"device\":\"0\",\"until\":\"present=false\",\"timeout\":50}' >/dev/null"
# Another unit in the same socket is another unit; a serial port answers the sync byte.
export usbsim
run "swap" $d -- bash -c 'uid() { "$usbsim" --ctl "{\"cmd\":\"describe\",\"device\":0}" | grep -o "\"uid\":\"[^\"]*\""; }
        first=$(uid) && "$usbsim" --ctl "{\"cmd\":\"swap\",\"device\":0}" >/dev/null && [ -n "$first" ] && [ "$first" != "$(uid)" ]'
run "serial port" $d,tty -- timeout 20 bash -c 'exec 3<>/dev/ttyUSB0
        for i in 1 2 3; do printf "~" >&3; read -r -n 1 -t 1 byte <&3 && [ "$byte" = "~" ] && exit 0; done; exit 1'
run "wire" --bus-rate=1M $d -- "$probe" many 1

script=$(mktemp)
trap 'rm -f "$script"' EXIT
printf '# comment\n{"cmd":"unplug","device":"a"}\nafter 100 {"cmd":"plug","device":"a","port":"1-7"}\n' >"$script"
run "script" --script="$script" $d,name=a -- "$usbsim" --ctl '{"cmd":"wait","device":"a","until":"port=1-7"}' >/dev/null

expect "exit status of the command" 7 "$usbsim" -- sh -c 'exit 7'
expect "signal of the command" 137 "$usbsim" -- sh -c 'kill -9 $$'
expect "missing command" 127 "$usbsim" -- /nonexistent
expect "no command" 2 "$usbsim"
expect "unknown family" 2 "$usbsim" -d no-such-family -- true
expect "wrong option" 2 "$usbsim" $d,speed=warp -- true
expect "same port twice" 2 "$usbsim" $d,port=1-1 $d,port=1-1 -- true
expect "port below a device" 2 "$usbsim" $d,port=1-1 $d,port=1-1.2 -- true
expect "port that cannot be" 2 "$usbsim" $d,port=1-99 -- true
expect "control outside" 2 env -u USBSIM_CONTROL "$usbsim" --ctl '{"cmd":"list"}'

# A signal reaches the command; what it leaves behind ends too.
expect "forwarded signal" 9 "$usbsim" -- sh -c 'trap "exit 9" TERM; kill -TERM $PPID; while :; do sleep 0.05; done'
left=$("$usbsim" -- sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!')
if kill -0 "$left" 2>/dev/null; then
        echo "FAILED: a process of the command is still there"
        failed=1
fi
# Killed outright, it takes the command and its children along.
pids=$(mktemp)
"$usbsim" -- sh -c 'sleep 1000 >/dev/null 2>&1 & echo $! $$ >"$1"; sleep 1000' sh "$pids" &
sim=$!
for _ in $(seq 100); do [ -s "$pids" ] && break; sleep 0.05; done
disown $sim
kill -9 $sim
read -ra left <"$pids"
for _ in $(seq 100); do kill -0 "${left[@]}" 2>/dev/null || break; sleep 0.05; done
if kill -0 "${left[@]}" 2>/dev/null; then
        echo "FAILED: a killed usbsim leaves processes behind"
        failed=1
fi
rm -f "$pids"
exit $failed
