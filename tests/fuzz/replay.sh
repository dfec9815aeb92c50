#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every harness, without a fuzzer, over its seeds and over all inputs that once broke something (tests/fuzz/corpus).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/fdld-replay.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
"$FDLD_BUILD/fuzz-seeds" "$scratch"
n=0
for harness in "$FDLD_BUILD"/fuzz-*; do
        kind=${harness##*/fuzz-}
        [ -x "$harness" ] && [ "$kind" != seeds ] || continue
        case $kind in *.*) continue ;; esac
        folders=("$scratch/$kind")
        [ ! -d "$here/corpus/$kind" ] || folders+=("$here/corpus/$kind")
        [ "$kind" != trace ] || folders+=("$here/../traces")
        [ -d "$scratch/$kind" ] || { echo "FAIL: no seeds for $kind"; exit 1; }
        said=$("$harness" "${folders[@]}") || { echo "FAIL: $kind"; exit 1; }
        echo "$kind: $said"
        n=$((n + 1))
done
[ "$n" -ge 13 ] || { echo "FAIL: only $n harnesses"; exit 1; }
