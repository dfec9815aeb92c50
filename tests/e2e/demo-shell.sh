#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fdld-demo, with the programs of the build: a station to try. Its manual page says what its help says.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-test.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export FDLD_DEMO_PROGRAMS=$FDLD_BUILD FDLD_DEMO_SCRIPTS=$here
demo() { "$here/../packages/fdld-demo" "$@"; }
# A world that cannot be made here cannot be tried.
status=0
"$FDLD_BUILD/usbsim" --device=phone-emmc -- true || status=$?
[ "$status" -ne 77 ] || exit 77

expect 0 demo --help
sed 's/\\-/-/g; s/\\f[BIRP]/ /g' "$here/../packages/fdld-demo.1" >"$WORK/page"
for word in $(sed -nE 's/^( {2}| {5}|  -h )([a-z]+|--[a-z]+).*/\2/p' "$WORK/out"); do
        grep -qE -- "(^| )$word([ =,]|\$)" "$WORK/page" || fail "the manual page does not know $word"
done
expect 0 demo --version
says "fdld-demo 0."
expect 2 demo frobnicate
says '"frobnicate" is no command'
expect 2 demo shell --slow
expect 2 demo unplug
expect 1 env -u USBSIM_CONTROL "$here/../packages/fdld-demo" unplug 0
says "works in a shell"
expect 0 demo families
says "phone-emmc"
expect 0 demo package phone "$WORK/x.pac"
[ -s "$WORK/x.pac" ] || fail "no package was made"

cat >"$WORK/play" <<END
set -e
fdlctl devices --no-legend | wc -l
fdlctl -q flash phone.pac
fdlctl jobs --no-legend
"$here/../packages/fdld-demo" plug 1
"$here/../packages/fdld-demo" unplug 0
"$here/../packages/fdld-demo" unplug 77 || echo "refused with \$?"
pwd
exit 5
END
expect 5 demo shell --fast --device=phone-emmc --device=feature-nor,plug=no sh "$WORK/play"
says "done"
says "refused with 1"
says 'There is no device "77".'
[ "$(head -n 1 "$WORK/out")" = 1 ] || fail "not one device, but $(head -n 1 "$WORK/out")"
[ ! -e "$(grep /packages "$WORK/out" | tail -n 1)" ] || fail "files were left behind"
