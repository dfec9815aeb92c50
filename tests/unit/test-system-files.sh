#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2015 # complain never fails
# What is installed for systemd, udev, D-Bus, polkit and software centres: each file is one, says what the code says, and the daemon's
# sandbox stays as tight as it is. What cannot be looked at for want of a tool is said aloud; without systemd the test is skipped.
set -u # no pipefail: "grep -q" ends before what it reads from
top=$(cd "${FDLD_SOURCE:-.}" && pwd)
build=$(cd "${FDLD_BUILD:-.}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/fdld-system.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
missing=

complain() {
        echo "FAIL: $*" >&2
        bad=1
}

need() {
        command -v "$1" >/dev/null && return 0
        missing="$missing $1"
        return 1
}

# ---- systemd ----
# exposure UNIT LIMIT (tenths): how open the sandbox is
exposure() {
        systemd-analyze security --offline=true --no-pager --threshold="$2" "$1" >"$work/out" 2>&1 ||
                complain "$(basename "$1"): exposure above $2 tenths: $(tail -n 1 "$work/out"); $(grep '^✗' "$work/out")"
        echo "$(basename "$1"): $(sed -n 's/.*Overall exposure level[^:]*: *//p' "$work/out")"
}
if need systemd-analyze && systemd-analyze security --help 2>/dev/null | grep -q offline; then
        mkdir "$work/units"
        for unit in fdld.service fdld-hooks.service; do
                # The programs are not installed yet.
                sed -E 's,^ExecStart=.*/([a-z-]+),ExecStart='"$build"'/\1,' "$build/systemd/$unit" >"$work/units/$unit"
        done
        exposure "$work/units/fdld.service" 12
        SYSTEMD_UNIT_PATH=$work/units: systemd-analyze verify --man=no "$work"/units/*.service >"$work/out" 2>&1 ||
                complain "systemd-analyze verify: $(cat "$work/out")"
        grep -q "$work" "$work/out" && complain "systemd-analyze verify: $(cat "$work/out")"
fi
unit=$build/systemd/fdld.service
for line in Type=notify BusName=org.fdld.Fdld1 User=fdld CapabilityBoundingSet= DevicePolicy=closed 'DeviceAllow=char-usb_device rw' \
        ProtectSystem=strict WatchdogSec=30 StateDirectory=fdld RuntimeDirectory=fdld ConfigurationDirectory=fdld NoNewPrivileges=yes; do
        grep -qxF "$line" "$unit" || complain "fdld.service has no $line"
done
grep -q trust-own-uid "$unit" && complain "fdld.service trusts its own uid"
grep -qx 'SystemdService=fdld.service' "$top/dbus/org.fdld.Fdld1.service" || complain "the activation file does not start fdld.service"
grep -qE '^u fdld - ' "$top/systemd/fdld.sysusers" || complain "no user fdld"

# ---- udev ----
rules=$top/udev/60-fdld.rules
for line in 'GROUP="fdld"' 'ENV{ID_MM_DEVICE_IGNORE}="1"' 'ATTR{power/control}="on"' 'TAG+="systemd"' 'ENV{SYSTEMD_WANTS}+="fdld.service"'; do
        grep -qF "$line" "$rules" || complain "60-fdld.rules has no $line"
done
grep -vE '^#' "$rules" | grep -q uaccess && complain "60-fdld.rules gives nodes to the seat"
# Only ids that the daemon acts on by default are given to it; each names vendor and product.
[ "$(grep -vE '^#' "$rules" | grep -c 'idVendor')" = 1 ] && grep -vE '^#' "$rules" | grep -qF 'ATTR{idVendor}=="1782", ATTR{idProduct}=="4d00"' ||
        complain "60-fdld.rules acts on other ids than 1782:4d00"
[ "$(grep -cE '^[a-z]' "$top/udev/60-fdld.hwdb")" = 1 ] && grep -qx 'usb:v1782p4D00\*' "$top/udev/60-fdld.hwdb" || complain "60-fdld.hwdb names other ids than 1782:4d00"
if need udevadm && udevadm verify --help >/dev/null 2>&1; then
        for file in "$top"/udev/*.rules; do
                udevadm verify --resolve-names=never "$file" >"$work/out" 2>&1 || complain "udevadm verify: $(cat "$work/out")"
        done
else
        missing="$missing udevadm-verify"
fi
if need systemd-hwdb; then
        mkdir -p "$work/root/etc/udev/hwdb.d" "$work/root/usr/lib/udev/hwdb.d"
        cp "$top/udev/60-fdld.hwdb" "$work/root/etc/udev/hwdb.d/"
        systemd-hwdb --root="$work/root" --strict update >"$work/out" 2>&1 || complain "systemd-hwdb: $(cat "$work/out")"
        [ -s "$work/out" ] && complain "systemd-hwdb: $(cat "$work/out")"
fi

# ---- XML ----
if need xmllint; then
        for file in "$top"/dbus/*.xml "$top"/dbus/*.conf "$build"/dbus/*.policy "$top"/systemd/*.xml; do
                xmllint --nonet --noout "$file" 2>"$work/out" || complain "$file: $(cat "$work/out")"
        done
fi
if need appstreamcli; then
        appstreamcli validate --no-net "$top/systemd/org.fdld.fdld.metainfo.xml" >"$work/out" 2>&1 || complain "appstreamcli: $(cat "$work/out")"
fi
grep -qF '<modalias>usb:v1782p4D00d*</modalias>' "$top/systemd/org.fdld.fdld.metainfo.xml" || complain "the metainfo file does not name the USB id"
version=$(sed -nE 's/^AC_INIT\(\[fdld\], \[([0-9.]+)\]\)$/\1/p' "$top/configure.ac")
grep -qF "<release version=\"$version\"" "$top/systemd/org.fdld.fdld.metainfo.xml" || complain "the metainfo file does not know version $version: add a release"

# ---- polkit rules: JavaScript ----
if need node; then
        for file in "$top"/dbus/*.rules; do
                printf 'var polkit = { Result: { YES: 1, NOT_HANDLED: 0 }, addRule: function(f) { f({ id: "x", lookup: function() {} }, { user: "a", isInGroup: function() { return true } }) } };\n' |
                        cat - "$file" | node >"$work/out" 2>&1 || complain "$file: $(cat "$work/out")"
        done
fi

[ -z "$missing" ] || echo "not installed, so not tried:$missing"
[ "$bad" = 0 ] || exit 1
echo "the installed files are in order"
command -v systemd-analyze >/dev/null || { echo "skipped: no systemd-analyze, the sandbox was not measured"; exit 77; }
