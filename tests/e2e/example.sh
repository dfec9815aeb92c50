#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The example client of README.md, as it stands there: it flashes a device, shows progress, says why something is refused.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
# The system's Python has the system's modules, whatever another one in PATH has.
python=
for candidate in /usr/bin/python3 python3; do
        "$candidate" -c 'from gi.repository import Gio, GLib' 2>/dev/null && python=$candidate && break
done
if [ -z "$python" ]; then
        echo "skipped: python3-gi is not installed, so the example of README.md was not tried"
        exit 77
fi
enter_world --fast --device=phone-emmc,name=unit
trap stop_station EXIT
# shellcheck disable=SC2016 # marks of Markdown
awk '/^```python$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "${FDLD_SOURCE:-$here/../..}/README.md" >"$WORK/flash.py"
[ -s "$WORK/flash.py" ] || fail "README.md has no example client"
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
# shellcheck disable=SC2119
start_daemon
expect 0 "$python" "$WORK/flash.py" "$WORK/phone.pac"
says "done: "
grep -qE '^/org/fdld/Fdld1/jobs/_[0-9]+: write [a-z0-9_]+ [0-9]+%' "$WORK/out" || fail "no progress was shown: $(cat "$WORK/out")"
expect 0 fdlctl -j jobs
[ "$(grep -o '"Result":"done"' "$WORK/out" | wc -l)" = 2 ] || fail "not an import and a flash that are done: $(cat "$WORK/out")"
printf 'no package' >"$WORK/bad.pac"
expect 1 "$python" "$WORK/flash.py" "$WORK/bad.pac"
says "was not imported"
echo "the example client of README.md works as it stands there"
