#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the Debian packages from a clean copy of the source. usage: build.sh FOLDER for the .deb files
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$1
for tool in dpkg-buildpackage dh; do
        command -v $tool >/dev/null || { echo "skipped: $tool is not installed (apt-get install dpkg-dev debhelper)"; exit 77; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/fdld-deb-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$top" ls-files -co --exclude-standard -z | (cd "$top" && tar -cf - --null -T -) | tar -xf - -C "$work/src"
else
        cp -a "$top/." "$work/src"
fi
echo "building"
(cd "$work/src" && DEB_BUILD_OPTIONS="parallel=$(nproc) noautodbgsym" dpkg-buildpackage -us -uc -b) >"$work/build.log" 2>&1 ||
        { tail -n 40 "$work/build.log"; exit 1; }
mkdir -p "$out"
mv "$work"/*.deb "$out/"
ls "$out"/*.deb
