#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The Debian packages: built from a clean copy of the source, looked at by lintian, then installed, used, upgraded while the daemon runs,
# removed and purged, in an overlay over this system that goes away with the script. Nothing is changed outside of it.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [ "${1:-}" != inside ]; then
        command -v unshare >/dev/null || { echo "skipped: unshare is not installed (apt-get install util-linux)"; exit 77; }
        WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-deb.XXXXXX")
        trap 'rm -rf "$WORK"' EXIT
        "$top/tests/packages/build.sh" "$WORK" || exit $?
        if command -v lintian >/dev/null; then
                lintian --fail-on error --allow-root "$WORK"/*.deb >"$WORK/lintian" 2>&1 || { cat "$WORK/lintian"; echo "FAIL: lintian"; exit 1; }
                cat "$WORK/lintian"
        else
                echo "lintian is not installed: the packages were not looked at by it"
        fi
        [ "$(id -u)" -eq 0 ] || { echo "skipped: only root can install packages, even into an overlay"; exit 77; }
        unshare --mount --pid --fork --kill-child bash "$0" inside "$WORK"
        exit 0
fi

WORK=$2
fail() {
        echo "FAIL: $*" >&2
        exit 1
}
mkdir "$WORK/overlay"
mount -t tmpfs none "$WORK/overlay"
mkdir "$WORK/overlay/upper" "$WORK/overlay/work" "$WORK/overlay/root"
root=$WORK/overlay/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/overlay/upper,workdir=$WORK/overlay/work" "$root" ||
        { echo "skipped: no overlay can be mounted here"; exit 77; }
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/packages" "$root/run/test"
cp "$WORK"/*.deb "$root/packages/"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
listing() { (cd "$root" && find etc usr/bin usr/sbin usr/lib lib/systemd lib/udev usr/share/dbus-1 usr/share/polkit-1 usr/share/man usr/libexec var/lib -xdev -iname '*fdl*' -print 2>/dev/null | grep -v -e '^var/lib/dpkg' -e '^usr/lib/gcc' | sort); }
in_root dpkg --purge fdld-tests fdld fdlctl >/dev/null 2>&1 || true
[ -z "$(listing)" ] || fail "there are files of fdld before it is installed: $(listing)"

echo "installing"
# What the packages depend on is here, as they were built here.
in_root sh -c 'dpkg -i /packages/fdld_*.deb /packages/fdlctl_*.deb /packages/fdld-tests_*.deb' >"$WORK/log" 2>&1 || { cat "$WORK/log"; fail "cannot be installed"; }
in_root getent passwd fdld >/dev/null || fail "the user fdld was not made"
in_root getent group fdld >/dev/null || fail "the group fdld was not made"
for file in usr/sbin/fdld usr/bin/fdlctl lib/systemd/system/fdld.service lib/udev/rules.d/60-fdld.rules etc/fdld/fdld.conf \
        usr/share/polkit-1/actions/org.fdld.fdld1.policy usr/share/dbus-1/system.d/org.fdld.Fdld1.conf usr/share/man/man1/fdlctl.1.gz \
        usr/share/man/man8/fdld.8.gz usr/share/man/man5/fdld.conf.5.gz usr/share/man/man5/org.fdld.Fdld1.5.gz \
        usr/share/bash-completion/completions/fdlctl usr/share/metainfo/org.fdld.fdld.metainfo.xml; do
        [ -e "$root/$file" ] || fail "/$file is not installed"
done
! in_root find /usr/share/polkit-1/rules.d /etc/polkit-1/rules.d -name '*flashers*' 2>/dev/null | grep . || fail "the example rule is active"
[ -L "$root/etc/systemd/system/multi-user.target.wants/fdld.service" ] || fail "the daemon is not enabled"
in_root fdlctl --version >/dev/null
in_root dpkg --verify fdld fdlctl fdld-tests | grep . && fail "what was installed is not what was packed"

echo "trying it without a device"
[ -e "$root/usr/share/man/man1/fdld-demo.1.gz" ] || fail "fdld-demo has no manual page"
in_root fdld-demo --help >"$WORK/demo" && grep -q simulated "$WORK/demo" || fail "fdld-demo does not say what it is"
in_root fdld-demo families >"$WORK/demo" && grep -q phone-emmc "$WORK/demo" || fail "fdld-demo knows no families"
status=0
in_root TMPDIR=/run/test fdld-demo shell --fast --device=phone-emmc --device=feature-nor \
        sh -c 'fdlctl -q flash phone.pac --slot=pci-0000:00:14.0-usb-0:1 && fdld-demo unplug 1 && fdlctl jobs' >"$WORK/demo" 2>&1 || status=$?
case $status in
0) grep -qw "done" "$WORK/demo" || { cat "$WORK/demo"; fail "nothing was flashed in the demo"; } ;;
77) echo "no devices can be simulated in here: $(tail -n 1 "$WORK/demo")" ;;
*) cat "$WORK/demo"; fail "fdld-demo ended with $status" ;;
esac
[ "$(ls "$root/run/test")" = "" ] || fail "fdld-demo left behind: $(ls "$root/run/test")"

echo "using it, as the user of the package"
cat >"$root/run/test/bus.conf" <<END
<busconfig><type>system</type><listen>unix:path=/run/test/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/></policy>
<include>/usr/share/dbus-1/system.d/org.fdld.Fdld1.conf</include>
<include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include></busconfig>
END
in_root dbus-daemon --config-file=/run/test/bus.conf --nofork --nopidfile --nosyslog 2>"$WORK/bus.log" &
bus=$!
in_root install -d -o fdld -g fdld -m 0700 /var/lib/fdld /run/fdld
for _ in $(seq 200); do
        [ -S "$root/run/test/bus" ] && break
        sleep 0.02
done
chroot "$root" setpriv --reuid=fdld --regid=fdld --init-groups env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/test/bus \
        STATE_DIRECTORY=/var/lib/fdld RUNTIME_DIRECTORY=/run/fdld /usr/sbin/fdld 2>"$WORK/fdld.log" &
daemon=$!
ctl() { in_root DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/test/bus fdlctl "$@"; }
answers() {
        for _ in $(seq 200); do
                ctl status >/dev/null 2>&1 && return 0
                sleep 0.05
        done
        cat "$WORK/fdld.log"
        fail "fdld does not answer"
}
answers
ctl -q status
[ "$(stat -c %u "$root/proc/$daemon")" = "$(in_root id -u fdld)" ] || fail "the daemon does not run as fdld"
echo 'Name=mine' >>"$root/etc/fdld/fdld.conf.mine"
mkdir -p "$root/etc/fdld/fdld.conf.d"
printf '[Station]\nName=mine\n' >"$root/etc/fdld/fdld.conf.d/mine.conf"
rm "$root/etc/fdld/fdld.conf.mine"

if [ -x "$root/usr/lib/polkit-1/polkitd" ]; then
        echo "the real polkit decides"
        # Before it starts: in an overlay it would not notice the change.
        in_root install -m 0644 /usr/share/doc/fdld/examples/50-fdld-flashers.rules /etc/polkit-1/rules.d/
        in_root DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/test/bus /usr/lib/polkit-1/polkitd --no-debug 2>"$WORK/polkit.log" &
        polkit=$!
        # Names that this system, whose users the overlay shows, has not.
        in_root groupadd --force flashers
        in_root useradd --no-create-home --user-group --groups flashers fdld-flasher
        in_root useradd --no-create-home --user-group fdld-visitor
        as() {
                local user=$1
                shift
                chroot "$root" setpriv --reuid="$user" --regid="$user" --init-groups env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/test/bus "$@"
        }
        # expect CODE USER ARGUMENT…
        expect() {
                local want=$1 got=0
                shift
                as "$@" >"$WORK/out" 2>&1 </dev/null || got=$?
                [ "$got" -eq "$want" ] || fail "exit code $got instead of $want: $*: $(cat "$WORK/out" "$WORK/polkit.log")"
        }
        for _ in $(seq 100); do
                as fdld-visitor fdlctl --no-ask-password import /etc/hostname >"$WORK/out" 2>&1 </dev/null || true
                grep -q password "$WORK/out" && break
                sleep 0.1
        done
        expect 7 fdld-visitor fdlctl --no-ask-password import /etc/hostname
        grep -q "for which a password must be given" "$WORK/out" || fail "polkit did not say that a password is needed: $(cat "$WORK/out")"
        # The right to import is there; what is imported is no package.
        expect 9 fdld-flasher fdlctl --no-ask-password import /etc/hostname
        expect 7 fdld-flasher fdlctl --no-ask-password history
        # The service of hooks has its own rule, which is active.
        expect 0 fdld-hooks fdlctl --no-ask-password history
        kill $polkit
        wait $polkit 2>/dev/null || true
        rm "$root/etc/polkit-1/rules.d/50-fdld-flashers.rules"
else
        echo "polkitd is not installed: the real polkit was not asked"
fi

echo "upgrading, while it runs"
"$top/tests/packages/upgrade.sh" "$WORK" "$root/packages/upgrade"
before=$(stat -Lc %i "$root/proc/$daemon/exe")
in_root sh -c "dpkg -i /packages/upgrade/*.deb" >"$WORK/log" 2>&1 || { cat "$WORK/log"; fail "cannot be upgraded"; }
kill -0 $daemon || fail "the upgrade ended the daemon"
for _ in $(seq 200); do
        [ "$(stat -Lc %i "$root/proc/$daemon/exe")" != "$before" ] && break
        sleep 0.05
done
[ "$(stat -Lc %i "$root/proc/$daemon/exe")" != "$before" ] || fail "the daemon did not become the new one: $(cat "$WORK/fdld.log")"
answers
[ "$(grep -c Ready "$WORK/fdld.log")" = 2 ] || fail "the new program did not start well: $(cat "$WORK/fdld.log")"
grep -q 'station "mine"' "$WORK/fdld.log" || fail "the settings of before are not used"
kill -TERM $daemon
wait $daemon || fail "the daemon ended with status $?"

echo "removing"
in_root dpkg --remove fdld-tests fdld fdlctl >"$WORK/log" 2>&1 || { cat "$WORK/log"; fail "cannot be removed"; }
[ ! -e "$root/usr/sbin/fdld" ] || fail "the daemon is still there"
[ -e "$root/etc/fdld/fdld.conf" ] || fail "removing took the settings away"
[ -d "$root/var/lib/fdld" ] || fail "removing took the records away"

echo "purging"
rm "$root/etc/fdld/fdld.conf.d/mine.conf"
in_root dpkg --purge fdld-tests fdld fdlctl >"$WORK/log" 2>&1 || { cat "$WORK/log"; fail "cannot be purged"; }
[ -z "$(listing)" ] || fail "purging left behind: $(listing)"
kill $bus
echo "Debian packages: built, installed, used, upgraded while the daemon ran, removed, purged"
