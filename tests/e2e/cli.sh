#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fdlctl without a daemon and without devices: usage, exit codes, help, explain.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-test.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$WORK/nobody-listens-here

expect 0 fdlctl --help
says "fdlctl [OPTION…] [VERB]"
[ ! -s "$WORK/err" ] || fail "help goes to stdout"
while read -r line; do
        [ "${#line}" -le 80 ] || fail "help is wider than 80 columns: $line"
done <"$WORK/out"
expect 0 fdlctl --version
says "fdlctl 0"

expect 2 fdlctl frobnicate
says "\"frobnicate\" is no verb"
[ ! -s "$WORK/out" ] || fail "errors go to stderr"
expect 2 fdlctl --no-such-option
says "--no-such-option"
expect 2 fdlctl flash
says "\"flash\" needs FILE.pac|PACKAGE"
expect 2 fdlctl flash a b
says "Too many arguments"
expect 2 fdlctl --mode=frob flash x
says "\"frob\" is no mode"
expect 2 fdlctl --mode
says "needs a value"
expect 2 fdlctl --json=xml jobs
says "is no JSON mode"
expect 2 fdlctl --timeout=never wait 1
says "is no number of seconds"

for verb in status devices slots jobs packages monitor "wait 1" "cancel 1" "retry 1" "show 1" "import $0" "remove abcd" "answer 1 x"; do
        # shellcheck disable=SC2086 # words are meant to be split
        expect 8 fdlctl $verb
        [ "$(wc -l <"$WORK/err")" -eq 1 ] || fail "one clear line for: $verb"
done

expect 0 fdlctl explain write-gone
says "left the bus"
says "what to do:"
expect 0 fdlctl explain load-fdl1-refused-a6
says "what to do:"
expect 3 fdlctl explain no-such-code
expect 0 fdlctl -j explain write-gone
says '"exit":'
expect 0 fdlctl explain

expect 3 fdlctl inspect "$WORK/missing.pac"
says "Cannot open"
expect 9 fdlctl inspect "$WORK"
says "is not a plain file"
echo "this is no package" >"$WORK/text.pac"
expect 9 fdlctl inspect "$WORK/text.pac"
says "code: import-plan"
expect 9 fdlctl plan "$WORK/text.pac"
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
expect 0 fdlctl inspect "$WORK/phone.pac"
expect 0 fdlctl -j inspect "$WORK/phone.pac"
expect 0 fdlctl plan "$WORK/phone.pac"
expect 0 fdlctl -j plan --mode=upgrade "$WORK/phone.pac"
echo "1 passed, 0 failed"
