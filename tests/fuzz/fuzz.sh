#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs every fuzzer for a while, two at a time, from its seeds and all inputs that once broke something. Findings are left in
# <folder>/NAME/; put them into tests/fuzz/corpus/NAME/ with the mended bug. usage: fuzz.sh BUILD SECONDS FOLDER [NAME…]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1 seconds=$2 folder=$3
shift 3
mkdir -p "$folder"
"$build/fuzz-seeds" "$folder/seeds"

one() {
        local name=$1 status=0 corpus=()
        mkdir -p "$folder/$name" "$folder/grown/$name"
        [ ! -d "$here/corpus/$name" ] || corpus=("$here/corpus/$name")
        [ "$name" != trace ] || corpus+=("$here/../traces")
        "$build/fuzz-$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=70000 -print_final_stats=1 -verbosity=0 \
                -artifact_prefix="$folder/$name/" "$folder/grown/$name" "$folder/seeds/$name" "${corpus[@]}" >"$folder/$name.log" 2>&1 || status=$?
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$name.log")
        if [ "$status" -ne 0 ]; then
                echo "fuzz $name: FAILED after ${runs:-?} inputs"
                grep -v '^stat::' "$folder/$name.log" | tail -n 40
                return 1
        fi
        echo "fuzz $name: ${runs:-?} inputs, nothing found"
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
        for f in "$here"/fuzz-*.c; do
                f=${f##*/fuzz-}
                names+=("${f%.c}")
        done
fi
failed=0 running=0
for name in "${names[@]}"; do
        one "$name" &
        running=$((running + 1))
        if [ "$running" -ge "$(nproc)" ]; then
                wait -n || failed=1
                running=$((running - 1))
        fi
done
while [ "$running" -gt 0 ]; do
        wait -n || failed=1
        running=$((running - 1))
done
exit "$failed"
