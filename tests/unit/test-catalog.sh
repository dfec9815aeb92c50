#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The journal's catalogue: systemd takes it as it is, every kind of entry and every failure of the tables has its text there, and no two share one.
set -euo pipefail
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
catalog=$FDLD_BUILD/systemd/fdld.catalog
make_catalog=$FDLD_BUILD/make-catalog
fail() {
        echo "FAIL: $*" >&2
        exit 1
}
root=$(mktemp -d "${TMPDIR:-/tmp}/fdld-catalog.XXXXXX")
trap 'rm -rf "$root"' EXIT

"$make_catalog" | cmp - "$catalog" || fail "the catalogue is not that of the tables"
ids=$(sed -n 's/^-- \([0-9a-f]\{32\}\)$/\1/p' "$catalog")
[ "$(sort -u <<<"$ids" | wc -l)" = "$(wc -l <<<"$ids")" ] || fail "two entries share an id: $(sort <<<"$ids" | uniq -d)"
kinds=$(grep -c '^MESSAGE(' "$src/daemon/common/messages.def")
rows=$(grep -c '^EXPLAIN(' "$src/daemon/common/errors.def")
[ "$(wc -l <<<"$ids")" -ge $((kinds + rows)) ] || fail "$(wc -l <<<"$ids") entries for $kinds kinds and $rows failures"
# every failure that can be named, also those that only have the text of their class
for code in write-refused-8a write-refused-42 claim-host-busy handshake-silent exec-fdl2-refused-84 verify-mismatch-read-back read-gone \
        $("$FDLD_BUILD/fdlctl" explain --no-pager --json=short 2>/dev/null | grep -o '"code":"[^"]*"' | cut -d'"' -f4); do
        id=$("$make_catalog" "$code") || fail "$code has no id"
        grep -q "^-- $id$" <<<"$(grep '^-- ' "$catalog")" || fail "$code ($id) has no text"
done
# every kind that the daemon names is in the table; and what it says about a job or a device has a kind
used=$(grep -rhoE 'MESSAGE_[A-Z_]+' "$src"/daemon/{station,bus,main.c} --include='*.c' | sort -u | sed 's/^MESSAGE_//')
for kind in $used; do
        case $kind in
        FAILURE | NONE) ;;
        *) grep -q "^MESSAGE($kind," "$src/daemon/common/messages.def" || fail "$kind has no text" ;;
        esac
done
while IFS=, read -r kind _; do
        grep -qx "$kind" <<<"$used" || fail "nobody says $kind"
done < <(sed -n 's/^MESSAGE(\([A-Z_]*\),.*/\1,/p' "$src/daemon/common/messages.def")
if ! command -v journalctl >/dev/null; then
        echo "skipped: journalctl is not installed; the tables were compared"
        exit 77
fi
mkdir -p "$root/usr/lib/systemd/catalog" "$root/var/lib/systemd/catalog"
cp "$catalog" "$root/usr/lib/systemd/catalog/"
journalctl --root="$root" --update-catalog 2>"$root/err" || fail "systemd does not take it: $(cat "$root/err")"
journalctl --root="$root" --dump-catalog "$("$make_catalog" write-refused-8a)" >"$root/text" 2>"$root/err" || fail "no text: $(cat "$root/err")"
grep -q '^Subject: Job @FDLD_JOB@ failed: ' "$root/text" && grep -q '^What to do:' "$root/text" || fail "the text: $(cat "$root/text")"
[ "$(journalctl --root="$root" --list-catalog 2>/dev/null | wc -l)" = "$(wc -l <<<"$ids")" ] || fail "systemd lists other entries"
echo "$(wc -l <<<"$ids") entries"
