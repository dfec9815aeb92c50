#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the Debian packages from a clean copy of the source. usage: build.sh FOLDER for the .deb files
# FDLD_DEBS: a folder where they are kept for who asks next.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$1
for tool in dpkg-buildpackage dh; do
        command -v $tool >/dev/null || { echo "skipped: $tool is not installed (apt-get install dpkg-dev debhelper)"; exit 77; }
done
mkdir -p "$out"
if [ -n "${FDLD_DEBS:-}" ] && ls "$FDLD_DEBS"/*.deb >/dev/null 2>&1; then
        cp "$FDLD_DEBS"/*.deb "$out/"
        exit 0
fi
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
mv "$work"/*.deb "$out/"
[ -z "${FDLD_DEBS:-}" ] || { mkdir -p "$FDLD_DEBS" && cp "$out"/*.deb "$FDLD_DEBS/"; }
ls "$out"/*.deb
