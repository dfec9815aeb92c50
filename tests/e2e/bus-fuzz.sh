#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every method of every object is called with arguments that a generator makes: the daemon lives, answers all, says why in each error,
# and gives back what it took. FDLD_LONG=1: a minute of it. FDLD_FUZZ_SEED=N: the same calls again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=a,port=1-1 --device=feature-nor,name=b,port=1-2 --device=phone-emmc,name=c,port=1-9,plug=no
trap stop_station EXIT
seed=${FDLD_FUZZ_SEED:-1}
amount=(--rounds=25)
[ -z "${FDLD_LONG:-}" ] || amount=(--seconds=30)

"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc/profiles.d"
printf '[Profile]\nDescription=the usual\nPackage=phone.pac\nStopAfter=2/4\nRetry=0\n' >"$WORK/etc/profiles.d/line.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl -q flash phone.pac --slot="$(port_of a)"

words=("$(printf vault | sha256sum | cut -d' ' -f1)" "$(head -c 65536 /dev/zero | sha256sum | cut -d' ' -f1)" 0123456789abcdef0123456789abcdef
        pgpt boot_a boot_b modem nv "$(port_of a)" "$(port_of b)" "$WORK/phone.pac")
fuzz() { expect 0 "$FDLD_BUILD/bus-fuzz" --seed="$1" "${@:2}" "$WORK" "$WORK/phone.pac" "${words[@]}"; cat "$WORK/out"; }

rss() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon_pid/status"; }

idle_fds=$(daemon_fds) idle_threads=$(daemon_threads)
fuzz "$seed" "${amount[@]}"
daemon_holds_at_most "$idle_fds" "$idle_threads"
# What is taken once and kept (the last finished jobs, plans, caches) is there now.
before=$(rss)
fuzz "$((seed + 1))" "${amount[@]}"
daemon_holds_at_most "$idle_fds" "$idle_threads"
after=$(rss)
echo "$idle_fds descriptors, $idle_threads threads, $before and then $after KiB"
# Sanitizers keep what was freed.
if ! nm "$FDLD_BUILD/fdld" 2>/dev/null | grep -E '__asan_init|__tsan_init' >/dev/null; then
        [ "$after" -le $((before + 4096)) ] || fail "the daemon grew from $before to $after KiB"
fi

# And it still does what it is for.
expect 0 fdlctl -q import "$WORK/phone.pac"
package=$(sed -n 's/^package //p' "$WORK/out")
simctl '{"cmd":"plug","device":"c"}' >/dev/null
expect 0 fdlctl -q flash "$package" --slot="$(port_of c)"

# The same by somebody else's program, where there is one (no package in Debian 12). Values of properties are read, too.
dfuzz() {
        local path
        command -v dfuzzer >/dev/null && command -v busctl >/dev/null || { echo "without dfuzzer: it is not installed"; return 0; }
        for path in $(busctl --list tree org.fdld.Fdld1 | grep '^/org/fdld'); do
                # What is there now may be gone then.
                busctl introspect org.fdld.Fdld1 "$path" >/dev/null 2>&1 || continue
                dfuzzer -s -n org.fdld.Fdld1 -o "$path" -I 200 >"$WORK/dfuzzer" 2>&1 || [ $? -eq 1 ] || { cat "$WORK/dfuzzer" >&2; fail "dfuzzer found something at $path"; }
                kill -0 "$daemon_pid" || fail "the daemon did not survive dfuzzer at $path"
        done
        daemon_holds_at_most "$idle_fds" "$idle_threads"
        echo "dfuzzer found nothing"
}
[ -z "${FDLD_LONG:-}" ] || dfuzz

# Under a sanitizer a leak is found now.
stop_station
trap - EXIT
echo "1 passed, 0 failed"
