# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A whole station for end-to-end scripts: simulated devices, a private bus, the daemon, the client. Sourced by the scripts.
# Needs FDLD_BUILD (the build folder). A script calls enter_world first, which runs it again inside the simulator.

# enter_world [USBSIM OPTION…]: returns only inside. WORK is a scratch folder that goes away with the script.
enter_world() {
        [ "${FDLD_INSIDE:-}" = "$0" ] && return 0
        WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-test.XXXXXX")
        local status=0
        trap 'rm -rf "$WORK"; exit 130' INT TERM
        export WORK
        FDLD_INSIDE=$0 "$FDLD_BUILD/usbsim" --storage="$WORK/flash" "$@" -- bash "$0" || status=$?
        rm -rf "$WORK"
        exit $status
}

need_packages() {
        [ -n "${FDLD_TEST_PACS:-}" ] && return 0
        echo "skipped: FDLD_TEST_PACS does not name a folder with real packages"
        exit 77
}

fdlctl() { "$FDLD_BUILD/fdlctl" "$@"; }

# simctl JSON: one request to the simulator, its answer on stdout.
simctl() { "$FDLD_BUILD/usbsim" --ctl "$1"; }

# port_of UNIT: the ID_PATH of the socket that the simulated unit is plugged into.
port_of() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o '"id-path":"[^"]*"' | cut -d'"' -f4; }

# start_job COMMAND…: starts work and leaves its number in $job.
start_job() {
        expect 0 fdlctl -q --no-wait "$@"
        # shellcheck disable=SC2034 # for the caller
        job=$(sed -n 's/^job //p' "$WORK/out")
}

# expect STATUS COMMAND…: runs it, its output in $WORK/out and $WORK/err.
expect() {
        local want=$1 got=0
        shift
        "$@" >"$WORK/out" 2>"$WORK/err" </dev/null || got=$?
        [ "$got" -eq "$want" ] && return 0
        cat "$WORK/out" "$WORK/err" >&2
        fail "exit code $got instead of $want: $*"
}

# says TEXT: the last command's output or error text contains it.
says() {
        grep -qF -- "$1" "$WORK/out" "$WORK/err" && return 0
        cat "$WORK/out" "$WORK/err" >&2
        fail "nobody said \"$1\""
}

# Whether another uid can be taken on. Inside the simulator everybody is root; where an ordinary user started it there are no other uids.
can_be_somebody_else() { [ "$(sed -n 's/^ *0 *\([0-9]*\) .*/\1/p' /proc/self/uid_map)" = 0 ] && command -v setpriv >/dev/null; }

# How often a test looks for what must come. That a machine is busy is not the fault of what is tested, so this is much.
tries=$(seq 2000)

# soon TEXT COMMAND…: the command's output, in $WORK/out, contains it within minutes.
soon() {
        local text=$1
        shift
        for _ in $tries; do
                "$@" >"$WORK/out" 2>"$WORK/err" </dev/null || true
                grep -qF -- "$text" "$WORK/out" && return 0
                sleep 0.05
        done
        says "$text"
}

fail() {
        echo "FAIL: $*" >&2
        [ -f "$WORK/fdld.log" ] && tail -n 40 "$WORK/fdld.log" >&2
        exit 1
}

start_bus() {
        : "${WORK:?WORK is no scratch folder}"
        mkdir -p "$WORK/bus"
        cat >"$WORK/bus/bus.conf" <<EOF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=$WORK/bus/socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call" send_destination="*"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
  <limit name="max_message_unix_fds">16</limit>
</busconfig>
EOF
        dbus-daemon --config-file="$WORK/bus/bus.conf" --nofork --nopidfile --nosyslog 2>"$WORK/bus/log" &
        bus_pid=$!
        for _ in $tries; do
                [ -S "$WORK/bus/socket" ] && break
                sleep 0.02
        done
        [ -S "$WORK/bus/socket" ] || fail "dbus-daemon did not start"
        export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$WORK/bus/socket
}

# start_daemon [OPTION…]: settings are read from $WORK/etc.
start_daemon() {
        : "${WORK:?WORK is no scratch folder}"
        mkdir -p "$WORK/state" "$WORK/run" "$WORK/etc"
        STATE_DIRECTORY=$WORK/state RUNTIME_DIRECTORY=$WORK/run CONFIGURATION_DIRECTORY=$WORK/etc \
                "$FDLD_BUILD/fdld" "$@" 2>>"$WORK/fdld.log" &
        daemon_pid=$!
        for _ in $tries; do
                fdlctl status >/dev/null 2>&1 && return 0
                kill -0 "$daemon_pid" 2>/dev/null || fail "fdld did not start"
                sleep 0.02
        done
        fail "fdld does not answer"
}

# After a start the packages of the store are checked first.
packages_ready() {
        for _ in $tries; do
                fdlctl -j packages | grep -q '"Ready":false' || return 0
                sleep 0.05
        done
        fail "the packages are still not checked"
}

# A daemon that was asked to stop ends well; what a sanitizer finds at the end is a failure too.
stop_daemon() {
        local pid=${daemon_pid:-} status=0
        [ -n "$pid" ] || return 0
        daemon_pid=
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || status=$?
        [ "$status" -eq 0 ] || fail "fdld ended with status $status"
}

stop_station() {
        stop_daemon
        if [ -n "${bus_pid:-}" ]; then
                kill "$bus_pid" 2>/dev/null || true
                wait "$bus_pid" 2>/dev/null || true
                bus_pid=
        fi
}

daemon_fds() { find "/proc/$daemon_pid/fd" -mindepth 1 2>/dev/null | wc -l; }
daemon_threads() { find "/proc/$daemon_pid/task" -mindepth 1 -maxdepth 1 | wc -l; }
# daemon_holds_at_most FDS THREADS: what ends by itself a little later does so within ten seconds.
daemon_holds_at_most() {
        for _ in $(seq 200); do
                [ "$(daemon_fds)" -le "$1" ] && [ "$(daemon_threads)" -le "$2" ] && return 0
                sleep 0.05
        done
        ls -l "/proc/$daemon_pid/fd" >&2
        fail "$(daemon_fds) descriptors and $(daemon_threads) threads instead of $1 and $2"
}
