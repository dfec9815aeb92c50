#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The packages once more, under a version that is an upgrade. usage: upgrade.sh FOLDER of the .deb files, FOLDER for those
set -euo pipefail
from=$1 to=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/fdld-deb-upgrade.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$to"
for deb in "$from"/*.deb; do
        name=$(basename "$deb")
        dpkg-deb -R "$deb" "$work/content"
        sed -i 's/^Version: .*/&+upgrade/; s/\((= [^)]*\))/\1+upgrade)/g' "$work/content/DEBIAN/control"
        dpkg-deb -b "$work/content" "$to/$name" >/dev/null
        rm -r "$work/content"
done
