#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is checked inside of the virtual machine, by the packages as they are installed, under the real systemd, udevd, bus, polkit and USB
# stack. /host is shared with the host: packages, simulator and firmware come from there, the file `verdict` goes there. The guest is started
# anew on the way; what is done by then stands in /var/lib/fdld-vm.
set -uo pipefail
export PATH=/host/bin:$PATH LC_ALL=C.UTF-8 USBSIM_CONTROL=/run/usbsim/control
state=/var/lib/fdld-vm
mkdir -p "$state"
# shellcheck source=tests/vm/guest-lib.sh
. /host/guest-lib.sh

# The simulated units: name, specification, package. What they hold is with the host, which compares it in the end: it outlives any end of this
# system, as flash does.
mapfile -t units </host/units

# ---- what is checked ----

installs() {
        dpkg -i /host/debs/fdld_*.deb /host/debs/fdlctl_*.deb >/run/dpkg.log 2>&1 || fail "cannot be installed: $(cat /run/dpkg.log)"
        ! grep -i -e 'could not' -e 'failed' /run/dpkg.log || fail "the installation was not clean: $(cat /run/dpkg.log)"
        systemctl -q is-enabled fdld || fail "the daemon is not enabled"
        within 10 systemctl -q is-active fdld || fail "the daemon was not started"
        [ "$(systemctl show -P NRestarts fdld)" = 0 ] || fail "the daemon did not start at once"
        # `offline` looks at the file, this at the service as it runs.
        exposure=$(systemd-analyze security --no-pager fdld.service | sed -n 's/.*exposure level for fdld.service: \([0-9.]*\) .*/\1/p')
        awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 1.2) }' || fail "the exposure of the service is ${exposure:-not known}"
        systemd-analyze verify --man=no fdld.service fdld-hooks.service 2>&1 | grep fdld && fail "systemd-analyze complains"
        ! systemctl --failed --no-legend | grep . || fail "units failed"
}

starts_on_plug() {
        systemctl stop fdld
        plug u0
        within 60 systemctl -q is-active fdld || fail "the daemon was not started by a device that was plugged in"
        within 30 has_device u0 || fail "the daemon does not know the device that started it: $(fdlctl devices)"
        unplug u0
        within 30 gone_device u0 || fail "the device left, and the daemon does not know"
        systemctl stop fdld
        fdlctl -q status || fail "the bus does not start the daemon"
        systemctl -q is-active fdld || fail "the daemon does not run"
}

useradd_once() { id "$1" >/dev/null 2>&1 || useradd --no-create-home --user-group "$@"; }

permits() {
        local node
        useradd_once visitor
        groupadd -f flashers
        useradd_once flasher --groups flashers
        again u0
        node=$(node_of u0)
        [ "$(stat -c '%U %G %a' "$node")" = "root fdld 660" ] || fail "$node is $(stat -c '%U %G %a' "$node")"
        as visitor dd "if=$node" of=/dev/null count=1 2>/dev/null && fail "anybody can open the device"
        expect 0 as visitor fdlctl status
        expect 7 as visitor fdlctl --no-ask-password import /host/pac/small.pac
        says 'password'
        expect 7 as visitor fdlctl --no-ask-password history
        install -m 0644 /usr/share/doc/fdld/examples/50-fdld-flashers.rules /etc/polkit-1/rules.d/ || fail "there is no example rule"
        within 30 as flasher fdlctl -q --no-ask-password import /host/pac/small.pac || fail "the rule for flashers does not let them import"
        expect 7 as visitor fdlctl --no-ask-password import /host/pac/small.pac
        expect 0 as flasher fdlctl -q --no-ask-password flash small.pac "--slot=$(port_of u0)"
        rm /etc/polkit-1/rules.d/50-fdld-flashers.rules
        again u0
        expect 7 as visitor fdlctl --no-ask-password reset "--slot=$(port_of u0)"
        unplug u0
}

modem_manager_stays_away() {
        local pid
        systemctl start ModemManager || fail "ModemManager does not start"
        mmcli --set-logging=DEBUG >/dev/null || fail "ModemManager does not answer"
        again u0
        udevadm info "$(node_of u0)" | grep -qx 'E: ID_MM_DEVICE_IGNORE=1' || fail "udev does not tell ModemManager to ignore it"
        sleep 3
        ! mmcli -L | grep -i Modem/ || fail "ModemManager took the device"
        pid=$(systemctl show -P MainPID ModemManager)
        ! find "/proc/$pid/fd" -lname "/dev/bus/usb/*" | grep . || fail "ModemManager has the device open"
        [ "$(describe u0 | field first_byte_us)" = 0 ] || fail "somebody has talked to the device"
        [ "$(cat "/sys/bus/usb/devices/$(name_of u0)/power/control")" = on ] || fail "the device may be put to sleep"
        unplug u0
}

flashes_all_families() {
        local i unit name package jobs=() names=() packages=()
        # Two families use ids that are something else on other devices: as the rules file says, they are given to fdld where they are plugged in.
        for id in 0525:a4a7 1782:4d16; do
                sed -n "s/^#\(ATTR{idVendor}==\"${id%:*}\", ATTR{idProduct}==\"${id#*:}\"\), ENV{ID_PATH}.*/\1, MODE=\"0660\", GROUP=\"fdld\", ENV{ID_MM_DEVICE_IGNORE}=\"1\"/p" \
                        /lib/udev/rules.d/60-fdld.rules
        done >/etc/udev/rules.d/59-fdld-local.rules
        [ "$(wc -l </etc/udev/rules.d/59-fdld-local.rules)" = 2 ] || fail "the rules file does not show these ids"
        udevadm control --reload
        mkdir -p /etc/fdld/fdld.conf.d
        printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >/etc/fdld/fdld.conf.d/ids.conf
        systemctl reload fdld || fail "the settings cannot be loaded again"
        for unit in "${units[@]}"; do
                read -r name _ package <<<"$unit"
                [ "$package" != small ] || continue
                names+=("$name")
                packages+=("$package")
                plug "$name"
        done
        for name in "${names[@]}"; do within 60 has_device "$name" || fail "$name did not appear"; done
        for package in $(printf '%s\n' "${packages[@]}" | sort -u); do
                fdlctl -q import "/host/pac/$package.pac" >/dev/null || fail "$package cannot be imported"
        done
        for i in "${!names[@]}"; do
                job=$(fdlctl -q flash "${packages[i]}.pac" "--slot=$(port_of "${names[i]}")" --no-wait) || fail "no job for ${names[i]}"
                jobs+=("${job#job }")
        done
        expect 0 fdlctl -q --timeout=300 wait "${jobs[@]}"
        for name in "${names[@]}"; do unplug "$name" || true; done
}

# Every verb, as the service lets it be done.
does_all_verbs() {
        local slot work=/var/tmp/verbs
        mkdir "$work"
        again u2
        slot=$(port_of u2)
        for verb in status devices slots jobs packages loaders batches profiles explain history vault 'watch --once' doctor \
                "show $slot" 'inspect /host/pac/small.pac' 'plan /host/pac/small.pac' "export $work/records" 'history --check' "label $slot first"; do
                # shellcheck disable=SC2086 # words of the verb
                expect 0 fdlctl -q --no-pager $verb
        done
        # Not by slot: a job of a slot is for the next unit there. Files of the caller are opened by the caller and handed over: the service sees
        # nothing of /var/tmp.
        expect 0 fdlctl -q probe "--device=$slot"
        expect 0 fdlctl -q backup "$work/backup" --package=small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q verify "$work/backup" --package=small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q read "logo=$work/logo" --package=small.pac "--device=$slot" --finish=nothing
        [ -s "$work/logo" ] || fail "nothing was read"
        expect 0 fdlctl -q -y erase logo --package=small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q -y write "logo=$work/logo" --package=small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q -y restore "$work/backup" --package=small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q flash small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q -y repair --from=small.pac --package=small.pac "--device=$slot" --finish=nothing
        expect 0 fdlctl -q flash small.pac --mode=factory --serials=AB0001 "--device=$slot" --finish=nothing
        job=$(fdlctl jobs --no-legend | awk '$2 == "flash" { print $1 }' | tail -n 1)
        expect 0 fdlctl -q bundle "$job" "$work/bundle.tar.xz"
        expect 0 fdlctl -q logs "$job"
        expect 0 fdlctl -q verify small.pac "--device=$slot"
        unplug u2 || true
        rm -r "$work"
}

survives_unplugging() {
        local gone stays code
        again u0 u1
        gone=$(fdlctl -q flash small.pac "--slot=$(port_of u0)" --no-wait)
        stays=$(fdlctl -q flash small.pac "--slot=$(port_of u1)" --no-wait)
        writes u0 200000
        unplug u0
        expect 10 fdlctl -q --timeout=120 wait "${gone#job }"
        code=$(code_of "${gone#job }")
        [[ $code == *gone* ]] || fail "the record of the unit that was pulled says $code"
        expect 0 fdlctl -q trace "${gone#job }"
        expect 0 fdlctl -q --timeout=120 wait "${stays#job }"
        unplug u1 || true
        # Flashed again it is whole.
        again u0
        expect 0 fdlctl -q flash small.pac "--slot=$(port_of u0)"
        unplug u0 || true
}

survives_being_killed() {
        local job before
        before=$(systemctl show -P NRestarts fdld)
        again u0
        job=$(fdlctl -q flash small.pac "--slot=$(port_of u0)" --no-wait)
        job=${job#job }
        writes u0 200000
        systemctl kill -s KILL fdld
        within 60 fdlctl -q status >/dev/null 2>&1 || fail "the daemon did not come back"
        within 30 has_device u0 || fail "it does not know its device"
        [ "$(systemctl show -P NRestarts fdld)" -gt "$before" ] || fail "systemd did not restart it"
        fdlctl -j show "$job" | grep -q '"Result":"interrupted"' || fail "the job is not told to be interrupted: $(fdlctl -j show "$job")"
        job=$(fdlctl -q retry "$job" --no-wait)
        expect 0 fdlctl -q --timeout=120 wait "${job#job }"
        unplug u0 || true
        systemctl restart fdld || fail "it cannot be restarted"
        expect 0 fdlctl -q history --check
}

upgrades_during_a_job() {
        local pid job old
        again u3
        pid=$(systemctl show -P MainPID fdld)
        old=$(stat -Lc %i "/proc/$pid/exe")
        job=$(fdlctl -q flash small.pac "--slot=$(port_of u3)" --no-wait)
        job=${job#job }
        writes u3 20000
        dpkg -i /host/debs/upgrade/fdld_*.deb /host/debs/upgrade/fdlctl_*.deb >/run/dpkg.log 2>&1 || fail "the upgrade failed: $(cat /run/dpkg.log)"
        fdlctl -j show "$job" | grep -q '"State":"running"' || fail "the job ended before the upgrade was through"
        [ "$(stat -Lc %i "/proc/$pid/exe")" = "$old" ] || fail "the new program took over while a job ran"
        systemctl show -P StatusText fdld | grep -q 'the program was upgraded' || fail "its status line says: $(systemctl show -P StatusText fdld)"
        expect 0 fdlctl -q --timeout=120 wait "$job"
        other_program() { [ "$(stat -Lc %i "/proc/$pid/exe")" != "$old" ]; }
        within 60 other_program || fail "the new program did not take over"
        [ "$(systemctl show -P MainPID fdld)" = "$pid" ] || fail "it is another process"
        within 30 fdlctl -q status || fail "the new program does not answer"
        systemctl -q is-active fdld || fail "the service is not active"
        unplug u3 || true
}

starts_a_batch() {
        again u0 u1
        expect 0 fdlctl -q start-batch small.pac "--slots=$(port_of u0),$(port_of u1)" --reflash
        sed -n 's/^batch //p' /run/out >"$state/batch"
        writes u0 200000
}

# After a reboot a batch waits for a person, and says so first of all.
finds_its_batch_paused() {
        fdlctl status >/run/status || fail "the daemon does not answer"
        head -n 1 /run/status | grep -qi paused || fail "the first line of status does not say that the batch is paused: $(head -n 3 /run/status)"
        again u0 u1
        sleep 2
        ! fdlctl -j jobs | grep -q '"State":"running"' || fail "a unit was flashed although nobody resumed the batch"
        expect 0 fdlctl -q history --check
        expect 0 fdlctl -q resume-batch "$(cat "$state/batch")"
        within 180 both_passed || fail "the batch did not go on: $(fdlctl slots)"
        expect 0 fdlctl -q history --check
        expect 0 fdlctl -q stop-batch "$(cat "$state/batch")"
        unplug u0 || true
        unplug u1 || true
}
both_passed() {
        local unit
        # Other sockets may still hold units that passed earlier.
        for unit in u0 u1; do fdlctl -j show "$(port_of "$unit")" | grep -q '"State":"passed"' || return 1; done
}

purges() {
        rm /etc/fdld/fdld.conf.d/ids.conf # which is not the package's
        dpkg --purge fdld fdlctl >/run/dpkg.log 2>&1 || fail "cannot be purged: $(cat /run/dpkg.log)"
        for path in /var/lib/fdld /etc/fdld /usr/sbin/fdld /run/fdld /lib/udev/rules.d/60-fdld.rules; do
                [ ! -e "$path" ] || fail "$path was left behind"
        done
        ! systemctl --failed --no-legend | grep . || fail "units failed"
}

# What the sandbox refused would stand here.
denies_nothing() {
        ! journalctl -q -k -o cat | grep 'type=1326' || fail "the kernel refused something"
        ! journalctl -q -u fdld -u fdld-hooks -o cat | grep -i -e 'not permitted' -e 'permission denied' -e 'read-only file system' -e 'watchdog' ||
                fail "the service was refused something"
        [ "$(systemctl show -P Result fdld)" = success ] || fail "the service ended with $(systemctl show -P Result fdld)"
}

# ---- with time that passes as fast as it can ----

# How long whoever waits in the guest has waited, in seconds.
lasts() {
        local before
        before=$(cut -d. -f1 /proc/uptime)
        "$@"
        lasted=$(($(cut -d. -f1 /proc/uptime) - before))
}
waits_for_deadlines() {
        local job
        for fault in 'at=fdl2:erase+silence' 'at=fdl2:midst+silence' 'at=brom:sync+silence+count=forever'; do
                plug u0
                within 60 has_device u0 || fail "no device"
                fault u0 "$fault"
                job=$(fdlctl -q flash small.pac "--slot=$(port_of u0)" --no-wait) || fail "no job"
                lasts fdlctl -q --timeout=3000 wait "${job#job }" >/dev/null 2>&1
                code=$(code_of "${job#job }")
                echo "  $fault: $code after $lasted s"
                [[ $code == *silent* || $code == *slow* ]] || fail "$fault ends as $code"
                [ "$lasted" -ge 10 ] || fail "$fault was given up after $lasted s"
                unplug u0
                fault u0 clear
        done
}

# ---- the order ----

simulate() {
        local unit name spec devices=()
        for unit in "${units[@]}"; do
                read -r name spec _ <<<"$unit"
                devices+=("--device=$spec,name=$name,plug=no")
        done
        usbsim --kernel --storage=/host/storage "${devices[@]}" -- sleep infinity &
        within 30 usbsim --ctl '{"cmd":"list"}' || fail "there is no simulator"
}

case $(sed -n 's/.*fdld\.check=\([a-z-]*\).*/\1/p' /proc/cmdline):$(cat "$state/done" 2>/dev/null) in
all:)
        simulate
        check "the packages are installed and the service runs in its sandbox" installs
        check "a device that is plugged in starts the daemon, and so does a call" starts_on_plug
        check "who may do what: device node, polkit with and without a rule" permits
        check "ModemManager does not touch a device" modem_manager_stays_away
        check "devices of all families are flashed" flashes_all_families
        check "every verb works under the service" does_all_verbs
        check "a unit that is pulled while it is written" survives_unplugging
        check "the daemon is killed while it writes" survives_being_killed
        check "the packages are upgraded while a job runs" upgrades_during_a_job
        check "nothing was denied" denies_nothing
        check "a batch begins" starts_a_batch
        echo reboot >"$state/done"
        sync
        systemctl reboot
        ;;
all:reboot)
        simulate
        check "after a reboot the batch is paused, and goes on when it is resumed" finds_its_batch_paused
        check "a batch begins" starts_a_batch
        echo power-cut >"$state/done"
        sync "$state/done" "$state/batch"
        reboot -ff
        ;;
all:power-cut)
        simulate
        check "after a power cut, too" finds_its_batch_paused
        check "nothing was denied" denies_nothing
        check "the packages are purged" purges
        finish
        ;;
time-travel:)
        simulate
        dpkg -i /host/debs/fdld_*.deb /host/debs/fdlctl_*.deb >/run/dpkg.log 2>&1 || fail "cannot be installed: $(cat /run/dpkg.log)"
        fdlctl -q import /host/pac/small.pac >/dev/null || fail "no package"
        check "deadlines of minutes" waits_for_deadlines
        finish
        ;;
*) fail "nobody said what to check" ;;
esac
