#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every word that the sources give to a failure as its third part is explained by a row of its own: "fdlctl explain" lists it.
set -u
top=$(cd "${FDLD_SOURCE:-.}" && pwd)
build=$(cd "${FDLD_BUILD:-.}" && pwd)
list=$("$build/fdlctl" explain | awk '{ print $1 }')
bad=0 n=0

while read -r class detail; do
        n=$((n + 1))
        grep -qE -- "-$class-$detail\$" <<<"$list" || { echo "FAIL: no row of errors.def explains …-$class-$detail" >&2; bad=1; }
done < <(grep -rhoE 'CLASS_(HOST|PLAN|MISMATCH|GARBLED|REFUSED|SLOW|SILENT|GONE), *"[a-z0-9-]+"' "$top/daemon" "$top/client" |
        sed -E 's/CLASS_([A-Z]+), *"(.*)"/\L\1\E \2/' | sort -u)
[ $n -ge 40 ] || { echo "FAIL: only $n words were found in the sources" >&2; bad=1; }
# and the stages and classes themselves
for class in silent slow refused gone garbled mismatch plan host; do
        grep -qx "any-$class" <<<"$list" || { echo "FAIL: any-$class has no row" >&2; bad=1; }
done
exit $bad
