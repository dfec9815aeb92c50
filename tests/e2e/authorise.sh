#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who may do what, with the daemon and the client as shipped, on a private bus outside of the simulated world: root, an ordinary user
# with and without polkit, the user's own jobs and those of others; the question for a password on a terminal; what fdlctl exits with.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
[ "$(id -u)" -eq 0 ] || { echo "skipped: only root can be somebody else"; exit 77; }
if ! command -v setpriv >/dev/null || ! command -v script >/dev/null; then
        echo "skipped: setpriv or script is not installed"
        exit 77
fi
WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-authorise.XXXXXX")
chmod 711 "$WORK"
polkit_pid=
others=()
finish() {
        [ ${#others[@]} -eq 0 ] || kill "${others[@]}" 2>/dev/null || true
        stop_station
        [ -z "$polkit_pid" ] || kill "$polkit_pid" 2>/dev/null || true
        rm -rf "$WORK"
}
trap finish EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
chmod 644 "$WORK/phone.pac"
start_bus
chmod 711 "$WORK/bus"
# Fewer than any shell's limit of open files.
mkdir -p "$WORK/etc"
printf '[Limits]\nFilesPerUser=200\n' >"$WORK/etc/fdld.conf"
# shellcheck disable=SC2119
start_daemon
# The client where everybody can run it.
cp "$FDLD_BUILD/fdlctl" "$WORK/fdlctl"
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
theirs() { as_nobody "$WORK/fdlctl" "$@"; }

# ---- without polkit: root alone ----
expect 0 theirs status
expect 7 theirs import "$WORK/phone.pac"
says "only root has while no polkit runs"
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 7 theirs flash phone.pac --no-wait
expect 7 theirs history
start_job flash phone.pac
roots=$job
expect 7 theirs cancel "$roots"

# ---- with it ----
mkfifo "$WORK/polkit.in"
"$FDLD_BUILD/polkitmock" "$FDLD_BUILD/dbus/org.fdld.fdld1.policy" <"$WORK/polkit.in" >"$WORK/polkit" &
polkit_pid=$!
exec 8>"$WORK/polkit.in"
polkit() {
        local before after
        before=$(grep -c '^now ' "$WORK/polkit" || true)
        echo "$1" >&8
        for _ in $tries; do
                after=$(grep -c '^now ' "$WORK/polkit" || true)
                [ "$after" -gt "$before" ] && return 0
                sleep 0.02
        done
        fail "the stand-in for polkit does not answer"
}
asked() { grep -qF "asked $1" "$WORK/polkit" || fail "polkit was not asked for $1: $(cat "$WORK/polkit")"; }

polkit allows
expect 0 theirs -q import "$WORK/phone.pac"
asked "org.fdld.fdld1.import target=any slot package=phone.pac"
expect 0 theirs -q --no-wait flash phone.pac
asked "org.fdld.fdld1.flash target=any slot package=phone.pac"
own=$(sed -n 's/^job //p' "$WORK/out")
polkit denies
expect 7 theirs -q --no-wait flash phone.pac
says "which this user does not have"
# own jobs need nobody's leave, those of others do
expect 7 theirs cancel "$roots"
asked "org.fdld.fdld1.cancel-any"
expect 0 theirs cancel "$own"
expect 6 fdlctl -q --timeout=600 wait "$own"
expect 0 fdlctl -j show "$own"
says '"Result":"canceled"'
says '"RequestedByUID":65534'
polkit fails
expect 7 theirs -q --no-wait flash phone.pac
says "Something went wrong"
expect 0 fdlctl -q --no-wait flash phone.pac

# ---- one who takes all that he gets: others find room ----
polkit allows
cp "$FDLD_BUILD/buspest" "$WORK/buspest"
package=/org/fdld/Fdld1/packages/$(fdlctl -j packages | grep -o '"Digest":"[0-9a-f]*"' | head -n 1 | cut -d'"' -f4)
setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/buspest" hoard "$package" >"$WORK/hoard" 2>/dev/null &
hoarder=$!
others=("$hoarder")
for _ in $tries; do grep -q " files: " "$WORK/hoard" && break; kill -0 $hoarder || break; sleep 0.02; done
grep -q "^64 drafts: .*QuotaExceeded .*DraftsPerUser=" "$WORK/hoard" || fail "drafts were not bounded: $(cat "$WORK/hoard")"
grep -q "^200 files: .*QuotaExceeded .*FilesPerUser=" "$WORK/hoard" || fail "attached files were not bounded: $(cat "$WORK/hoard")"
"$FDLD_BUILD/buspest" draft "$package" >"$WORK/draft" 2>"$WORK/err" &
drafter=$!
others+=("$drafter")
for _ in $tries; do [ -s "$WORK/draft" ] && break; kill -0 $drafter 2>/dev/null || break; sleep 0.02; done
[ -s "$WORK/draft" ] || fail "root cannot make a draft beside one who made all he may: $(cat "$WORK/err")"
expect 0 fdlctl -q import "$WORK/phone.pac"
kill $hoarder $drafter
wait $hoarder $drafter 2>/dev/null || true
others=()

# ---- a password ----
mkdir "$WORK/bin"
cat >"$WORK/bin/pkttyagent" <<END
#!/bin/sh
echo "agent \$*" >>"$WORK/agent"
while [ \$# -gt 0 ]; do
        case \$1 in --notify-fd) eval "exec \$2>&-"; shift ;; esac
        shift
done
exec sleep 100
END
chmod +x "$WORK/bin/pkttyagent"
touch "$WORK/agent"
chmod 666 "$WORK/agent"
polkit challenges
# no terminal: an agent of the session may do it, here there is none, and fdlctl starts none
expect 0 theirs -q --no-wait flash phone.pac
[ ! -s "$WORK/agent" ] || fail "an agent was started without a terminal"
expect 7 theirs -q --no-ask-password --no-wait flash phone.pac
says "for which a password must be given"
cat >"$WORK/on-terminal" <<END
#!/bin/sh
PATH=$WORK/bin:\$PATH exec "$WORK/fdlctl" -q --no-wait flash phone.pac
END
chmod 755 "$WORK/on-terminal"
(cd / && expect 0 as_nobody script -qec "$WORK/on-terminal" /dev/null)
grep -q 'agent --process [0-9]* --notify-fd [0-9]* --fallback' "$WORK/agent" || fail "no agent was started on the terminal: $(cat "$WORK/agent" "$WORK/out")"
says "job "
polkit dismissed
expect 7 theirs -q --no-wait flash phone.pac
says "was dismissed"

# ---- polkit thinks for long: others are served meanwhile ----
polkit slow
theirs -q --no-wait flash phone.pac >"$WORK/slow" 2>&1 &
slow=$!
for _ in $tries; do
        [ "$(grep -c '^asked' "$WORK/polkit")" -gt 8 ] && break
        sleep 0.02
done
expect 0 fdlctl status
expect 0 fdlctl -q --no-wait flash phone.pac
kill "$slow"
wait "$slow" 2>/dev/null || true
expect 0 theirs status
exec 8>&-
wait "$polkit_pid" || fail "the stand-in for polkit ended badly"
polkit_pid=
expect 7 theirs cancel "$roots"
says "while no polkit runs"
echo "root, allowed, denied, challenged, dismissed, slow, broken and absent: as they should be"
