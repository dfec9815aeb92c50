#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How fast fdld is. One table; each figure is the median of several runs with its spread, and what can be a ratio is one, of figures
# from the same run. Two cores carry daemon, simulator and bus here, so rates say little by themselves:
#
#   null   a client that only sends frames that were made before and waits for each answer, on the same kind of device: the limit
#   sim    what the simulator itself has used, told apart
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FDLD_BUILD=${FDLD_BUILD:?FDLD_BUILD is not set; use ./run bench}
# shellcheck source=tests/e2e/station.sh
. "$here/../e2e/station.sh"

usage() {
        cat <<'END'
usage: ./run bench [OPTION…]

  --json           a JSON array instead of the table
  --full           more runs, larger images, up to 64 devices (many minutes); default: a few minutes
  --runs=N         runs of each measurement
  --devices='N …'  how many devices at once
  --modes='MODE …' escaped, plain, raw: how one device is written
  --image=MIB      how large the image is, 64 to 256: what each step costs once, such as its intent on disk, counts less in a large one
  --records=N      how many records the database has (default 1000000, beside 10000 queued jobs; needs 2 GB)
  --only='PART …'  kernels link unlimited controller many control records instructions
  --peer='COMMAND {fdl1} {fdl2} {image} {size}'
                   another flasher, which writes {image} to the partition super of the same kind of device, beside fdld
  --baseline       stores today's counts of instructions as what later ones are compared with
END
        exit 2
}

runs=3 json=no counts="1 4 16" only="kernels link unlimited controller many control records instructions" peer='' store_baseline=no records=1000000 modes="escaped plain raw" image_mib=128
while [ $# -gt 0 ]; do
        case $1 in
        --json) json=yes ;;
        --full) runs=7 counts="1 4 16 64" image_mib=192 ;;
        --runs=*) runs=${1#*=} ;;
        --devices=*) counts=${1#*=} ;;
        --modes=*) modes=${1#*=} ;;
        --image=*) image_mib=${1#*=} ;;
        --records=*) records=${1#*=} ;;
        --only=*) only=${1#*=} ;;
        --peer=*) peer=${1#*=} ;;
        --baseline) store_baseline=yes only=instructions ;;
        *) usage ;;
        esac
        shift
done
case $runs in '' | *[!0-9]* | 0) usage ;; esac
case $records in '' | *[!0-9]* | 0) usage ;; esac
case $image_mib in '' | *[!0-9]* | 0) usage ;; esac
[ "$image_mib" -ge 64 ] && [ "$image_mib" -le 256 ] || usage
for mode in $modes; do [[ " escaped plain raw " == *" $mode "* ]] || usage; done
for part in $only; do [[ " kernels link unlimited controller many control records instructions " == *" $part "* ]] || usage; done

# rss_of PID FIELD: KiB.
rss_of() { sed -n "s/^$2:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$1/status"; }
# Whole pages that belong to nobody else, as the kernel counts them one by one; the other numbers lag behind.
anonymous_of() { awk '/^Anonymous:/ { print $2 }' "/proc/$1/smaps_rollup"; }
# What the daemon's main loop says of itself at its end: dispatches, those above 5 ms, the same by processor time, the longest in ms, and its
# processor time. Only after stop_station.
loop_of() { sed -n 's/.*The main loop worked \([0-9]*\) times, \([0-9]*\) of them for more than 5 ms (\([0-9]*\) by processor time); the longest took \([0-9.]*\) ms, of the processor \([0-9.]*\) ms.*/\1 \2 \3 \4 \5/p' "$WORK/fdld.log" | tail -n 1; }

# ---- inside the simulator: each writes lines "NAME VALUE" to $WORK/result

# inside_jobs N: flashes all N devices at once.
inside_jobs() {
        local n=$1 jobs=() t0 t1 c0 c1 a anon=0 calls=$WORK/calls caller
        start_bus
        start_daemon
        (cd "/proc/$daemon_pid/task" && renice -n -5 -p -- *) >/dev/null 2>&1 || true # as the unit has it; root may
        fdlctl -q import "$WORK/phone.pac" >/dev/null
        # As for every unit but the first: the package is in the page cache. (Its holes are not, by the import alone.)
        cat "$WORK/state/packages"/* >/dev/null
        c0=$("$FDLD_BUILD/bench-cpu" "$daemon_pid")
        t0=$(date +%s%N)
        # shellcheck disable=SC2086 # options
        mapfile -t jobs < <(fdlctl -q flash phone.pac --all --no-wait ${BENCH_FLASH:-} | sed 's/^job //')
        [ "${#jobs[@]}" -eq "$n" ] || fail "${#jobs[@]} jobs for $n devices"
        if [ -n "${BENCH_WATCHERS:-}" ]; then
                "$FDLD_BUILD/bench-calls" "$BENCH_WATCHERS" >"$calls" &
                caller=$!
                # Not where rates of one device are compared: looking takes a good part of a processor.
                while fdlctl jobs --no-legend | grep -E ' (running|queued|waiting) ' >/dev/null; do
                        a=$(anonymous_of "$daemon_pid")
                        [ "$a" -le "$anon" ] || anon=$a
                        sleep 0.05
                done
                kill -TERM "$caller"
                wait "$caller" || fail "the bus does not answer"
        fi
        fdlctl -q wait "${jobs[@]}" || fail "a job failed"
        t1=$(date +%s%N)
        c1=$("$FDLD_BUILD/bench-cpu" "$daemon_pid")
        {
                echo "wall $(((t1 - t0) / 1000))"
                echo "cpu $((c1 - c0))"
                echo "anon $anon"
                [ ! -f "$calls" ] || sed 's/^/call-/' "$calls"
                fdlctl history --json=short | "$here/stages.awk"
        } >"$WORK/result"
        stop_station
        loop_of | awk '{ print "loop_over", $2; print "loop_over_cpu", $3; print "loop_longest", $4; print "loop_longest_cpu", $5 }' >>"$WORK/result"
}

# inside_writing TIMES: the small package and the large one in turn, each so often, by one daemon: what it does now and then in the
# background is in neither more than in the other. "PACKAGE BYTES TIME PROCESSOR-TIME" of each job, in µs.
inside_writing() {
        local port package c0 c1
        start_bus
        start_daemon
        for package in small phone; do fdlctl -q import "$WORK/$package.pac" >/dev/null; done
        cat "$WORK/state/packages"/* >/dev/null
        port=$(port_of 0)
        for package in $(for _ in $(seq "$1"); do echo small phone; done); do
                simctl '{"cmd":"unplug","device":"0"}' >/dev/null
                c0=$("$FDLD_BUILD/bench-cpu" "$daemon_pid")
                # shellcheck disable=SC2086 # options
                start_job flash "$package.pac" --slot="$port" ${BENCH_FLASH:-}
                simctl '{"cmd":"plug","device":"0"}' >/dev/null
                fdlctl -q wait "$job" || fail "a job failed"
                c1=$("$FDLD_BUILD/bench-cpu" "$daemon_pid")
                fdlctl history --json=short --limit=1 | "$here/stages.awk" |
                        awk -v p="$package" -v cpu=$((c1 - c0)) '{ v[$1] = $2 } END { print p, v["write_bytes"], v["write_us"], cpu }' >>"$WORK/result"
        done
        stop_station
}

# inside_null N ARGUMENTS…: N null clients that begin together, one for each device; what they sent in all, and how long it took.
inside_null() {
        local n=$1 i
        shift
        mkfifo "$WORK/gate"
        exec 9<>"$WORK/gate"
        for i in $(seq 0 $((n - 1))); do "$FDLD_BUILD/foreign" "${@:1:$#-1}" --gate="$i" super "${!#}" <"$WORK/gate" >"$WORK/null.$i" 9>&- & done
        for _ in $(seq 3000); do
                [ "$(cat "$WORK"/null.* | grep -c ready)" -lt "$n" ] || break
                sleep 0.02
        done
        exec 9>&-
        wait
        [ "$(cat "$WORK"/null.* | grep -c '^null ')" -eq "$n" ] || fail "not all null clients came to the end"
        cat "$WORK"/null.* | awk '$1 == "null" { b += $2; if (!from || $5 < from) from = $5; if ($6 > to) to = $6 } END { print "null_bytes", b; print "null_us", (to - from) * 1e6 }' >"$WORK/result"
}

# inside_plug N: N jobs one after the other on a socket, each queued before its unit comes; from the kernel's message to the first byte, as
# the simulator sees it, and from the call that plugs it in to the job's begin, as its record has it.
inside_plug() {
        local port us t0
        start_bus
        start_daemon
        fdlctl -q import "$WORK/phone.pac" >/dev/null
        port=$(port_of u)
        : >"$WORK/plugs"
        : >"$WORK/begins"
        for _ in $(seq "$1"); do
                simctl '{"cmd":"unplug","device":"u"}' >/dev/null
                start_job flash phone.pac --slot="$port"
                sleep 0.3
                t0=$(date +%s%N)
                simctl '{"cmd":"plug","device":"u"}' >/dev/null
                for _ in $(seq 200); do
                        us=$(simctl '{"cmd":"describe","device":"u"}' | sed -n 's/.*"first_byte_us": *\([0-9]*\).*/\1/p')
                        [ "${us:-0}" -eq 0 ] || break
                        sleep 0.05
                done
                [ "${us:-0}" -gt 0 ] || fail "no byte came"
                echo "$us" >>"$WORK/plugs"
                fdlctl -q cancel "$job" >/dev/null
                fdlctl -q wait "$job" >/dev/null 2>&1 || true
                us=$(fdlctl history --json=short --limit=1 | grep -o '"started_usec":[0-9]*' | sed -n '1s/.*://p')
                [ "${us:-0}" -ge $((t0 / 1000)) ] || fail "no record of job $job"
                echo $((us - t0 / 1000)) >>"$WORK/begins"
        done
        stop_station
}

# inside_idle: a daemon that nobody asks anything, with a device plugged in.
inside_idle() {
        local t0 t1 pid switches=0 task
        start_bus
        t0=$(date +%s%N)
        start_daemon
        t1=$(date +%s%N)
        pid=$daemon_pid
        sleep 5
        count() { switches=0; for task in /proc/"$pid"/task/*/status; do switches=$((switches + $(sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "$task"))); done; }
        count
        local before=$switches rss anon
        rss=$(awk '/^Rss:/ { print $2 }' "/proc/$pid/smaps_rollup")
        anon=$(anonymous_of "$pid")
        sleep 10
        count
        # After work: what a job and its package leave behind.
        fdlctl -q import "$WORK/phone.pac" >/dev/null
        fdlctl -q flash phone.pac --all >/dev/null 2>&1 || fail "the job failed"
        sleep 5
        {
                echo "start $(((t1 - t0) / 1000))"
                echo "wakeups $((switches - before))"
                echo "rss $rss"
                echo "anon $anon"
                echo "rss_after $(awk '/^Rss:/ { print $2 }' "/proc/$pid/smaps_rollup")"
                echo "anon_after $(anonymous_of "$pid")"
        } >"$WORK/result"
        stop_station
}

# inside_count: what the thread of one job executes, by callgrind, between its device's first byte and its last.
inside_count() {
        start_bus
        mkdir -p "$WORK/state" "$WORK/run" "$WORK/etc"
        STATE_DIRECTORY=$WORK/state RUNTIME_DIRECTORY=$WORK/run CONFIGURATION_DIRECTORY=$WORK/etc valgrind --tool=callgrind --callgrind-out-file=/dev/null \
                --toggle-collect=engine_run --log-file="$WORK/callgrind.log" "$FDLD_BUILD/fdld" 2>"$WORK/fdld.log" &
        daemon_pid=$!
        soon "fdld" fdlctl status
        fdlctl -q import "$WORK/phone.pac" >/dev/null || fail "no import"
        # shellcheck disable=SC2086 # options
        fdlctl -q flash phone.pac --all ${BENCH_FLASH:-} >/dev/null 2>&1 || fail "the job failed"
        stop_station
        sed -n 's/.*Collected : \([0-9]*\).*/count \1/p' "$WORK/callgrind.log" >"$WORK/result"
}

# inside_records: a station with a long past and a long queue.
inside_records() {
        local t0 serial newest
        start_bus
        start_daemon
        fdlctl -q flash "$WORK/phone.pac" >/dev/null || fail "no first record"
        simctl '{"cmd":"unplug","device":"0"}' >/dev/null
        fdlctl -q --no-wait flash phone.pac >/dev/null
        stop_daemon
        # timed NAME COMMAND…: the median of five, program start included.
        timed() {
                local name=$1
                shift
                : >"$WORK/times"
                for _ in 1 2 3 4 5; do
                        t0=$(date +%s%N)
                        "$@" >"$WORK/out" 2>&1 || fail "$*: $(cat "$WORK/out")"
                        echo $((($(date +%s%N) - t0) / 1000)) >>"$WORK/times"
                done
                echo "$name $(sort -n "$WORK/times" | sed -n 3p)"
        }
        measure() {
                t0=$(date +%s%N)
                start_daemon
                echo "$1start $((($(date +%s%N) - t0) / 1000))"
                packages_ready
                timed "$1status" fdlctl status
                timed "$1jobs" fdlctl jobs
                timed "$1newest" fdlctl history
                echo "$1anon $(rss_of "$daemon_pid" RssAnon)"
        }
        {
                measure few-
                stop_daemon
                serial=$("$FDLD_BUILD/bench-records" "$WORK/state/fdld.db" "$BENCH_RECORDS" 10000 | sed -n 's/^serial //p')
                echo "size $(($(stat -c %s "$WORK/state/fdld.db") / 1048576))"
                measure many-
                timed serial fdlctl history --serial="$serial"
                grep -q '^1 record' "$WORK/out" || fail "not found: $serial"
                newest=$(fdlctl -j history | grep -o '"chip-uid":"[0-9a-f]*"' | head -n 1 | cut -d'"' -f4)
                timed chip fdlctl history --chip="$newest"
                timed slot fdlctl history --slot=A7 --result=failed
                timed code fdlctl history --code=write-gone --until=30d
                timed date fdlctl history --since=40d --until=39d
                timed batch fdlctl history --batch=$((BENCH_RECORDS / 10000))
                timed nothing fdlctl history --serial=SN --since=1d
                timed mixed fdlctl history --slot=A7 --code=exec-fdl2-refused-84 --result=failed --since=300d --until=200d
                echo "queried $(rss_of "$daemon_pid" RssAnon)"
                t0=$(date +%s%N)
                fdlctl history --check >/dev/null || fail "the chain does not hold"
                echo "check $((($(date +%s%N) - t0) / 1000))"
                echo "checked $(rss_of "$daemon_pid" RssAnon)"
        } >"$WORK/result"
        stop_station
}

if [ "${BENCH_INSIDE:-}" ]; then
        trap stop_station EXIT
        $BENCH_INSIDE
        trap - EXIT
        exit 0
fi

# ---- outside

scratch=$(mktemp -d "${TMPDIR:-/tmp}/fdld-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
rows=$scratch/rows
: >"$rows"

# row PART WHAT UNIT VALUE SPREAD%
row() {
        printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$rows"
        [ "$json" = yes ] || printf '%-12s %-52s %12s %-10s %s\n' "$1" "$2" "$4" "$3" "${5:+±$5 %}"
}
# middle FILE: "MEDIAN SPREAD" of its numbers, spread half of the distance between the outermost in percent.
middle() { sort -g "$1" | awk '{ v[NR] = $1 } END { m = v[int((NR + 1) / 2)]; printf (m >= 1000 ? "%.0f %.0f\n" : "%.4g %.0f\n"), m, m ? (v[NR] - v[1]) / 2 / m * 100 : 0 }'; }
# figure PART WHAT UNIT FILE
figure() {
        local m s
        read -r m s < <(middle "$4")
        row "$1" "$2" "$3" "$m" "$s"
}
wanted() { case " $only " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
value() { awk -v n="$1" '$1 == n { print $2; exit }' "$WORK/result"; }

# A virtual machine gets memory from its host when it is first touched, which takes longer than all that is measured here: what is about to
# be needed has been touched before.
touch_memory() {
        head -c $((4 * image_mib))M /dev/zero >"$scratch/touched"
        rm "$scratch/touched"
}

# simulate COMMAND SIMULATOR-OPTION…: a fresh world; its own use is left in $sim_cpu (µs).
simulate() {
        local command=$1
        shift
        WORK=$scratch/run
        rm -rf "$WORK"
        touch_memory
        mkdir -p "$WORK"
        ln -s "$scratch/measured.pac" "$WORK/phone.pac"
        ln -s "$scratch/small.pac" "$WORK/small.pac"
        export WORK FDLD_BUILD
        BENCH_INSIDE=$command "$FDLD_BUILD/usbsim" --fast --stats --storage="$WORK/flash" "$@" -- bash "$here/bench.sh" 2>"$scratch/stats" ||
                { cat "$scratch/stats" >&2; exit 1; }
        sim_cpu=$(sed -n 's/.*simulator \([0-9.]*\) s user, \([0-9.]*\) s system.*/\1 \2/p' "$scratch/stats" | awk '{ print ($1 + $2) * 1e6 }')
}

# null MODE SIMULATOR-OPTION…: "BYTES SECONDS CPU-SECONDS" of the null client, on flash that was written before, as what it is compared with;
# MODE: escaped plain raw
null() {
        local mode=$1 args
        shift
        case $mode in escaped) args="--null=0xa000" ;; plain) args="--plain --null=0xf800" ;; raw) args="--plain --null=raw" ;; esac
        rm -rf "$scratch/null"
        touch_memory
        # shellcheck disable=SC2086 # options
        for _ in first second; do "$FDLD_BUILD/usbsim" --fast --storage="$scratch/null" "$@" -- "$FDLD_BUILD/foreign" $args super "$scratch/image"; done |
                sed -n 's/^null //p' | tail -n 1
}

make_images() {
        [ -f "$scratch/phone.pac" ] && return 0
        "$FDLD_BUILD/pacmaker" phone "$scratch/phone.pac" --size=System=${image_mib}M >/dev/null
        "$FDLD_BUILD/pacmaker" phone "$scratch/small.pac" --size=System=4M >/dev/null
        head -c ${image_mib}M /dev/urandom >"$scratch/image"
}

device_of() { case $1 in escaped) echo phone-emmc,hdlc=always ;; plain) echo phone-emmc ;; raw) echo phone-emmc,raw=1 ;; esac; }

# Devices that share a controller of 40 MB/s: what comes through in all, fdld and as many null clients in turn.
bench_controller() {
        local n f=$scratch/c options
        head -c 64M "$scratch/image" >"$scratch/little"
        "$FDLD_BUILD/pacmaker" phone "$scratch/little.pac" --size=System=64M >/dev/null
        ln -sfn little.pac "$scratch/measured.pac"
        for n in $counts; do
                [ "$n" -gt 1 ] || continue
                rm -f "$f".*
                options=(--controllers=1 --bus-rate=40M)
                for _ in $(seq "$n"); do options+=(--device=phone-emmc); done
                for _ in $(seq $(((runs + 2) / 3))); do # half a minute each, and alike
                        BENCH_FLASH=--verify=ack simulate "inside_jobs $n" "${options[@]}"
                        value write_bytes >"$f.bytes"; value write_window >"$f.window"
                        simulate "inside_null $n --plain --null=0xf800 $scratch/little" "${options[@]}"
                        paste "$f.bytes" "$f.window" <(value null_bytes) <(value null_us) | awk -v f="$f" '{
                                print $1 / $2 >>(f ".rate"); print $3 / $4 >>(f ".null"); print $1 / $2 / ($3 / $4) * 100 >>(f ".share") }'
                done
                figure controller "$n devices: write" MB/s "$f.rate"
                figure controller "$n null clients" MB/s "$f.null"
                figure controller "$n devices: share of the null clients" % "$f.share"
        done
        ln -sfn phone.pac "$scratch/measured.pac"
}

# measure_writing MODE RATE: MB/s in $write_rate and the daemon's processor time for each GiB in $write_cpu: of jobs with so much more
# than others, that read nothing back, the medians. What a job and each of its small files cost once, and checking, is not in it, nor is that
# the package's pages are given back when no job has used them for a while.
measure_writing() {
        local times=3
        # A link's rate is all that is asked of it, and it takes long; raw data take so little that the rest of a job hides it.
        case $1/$2 in */40M) times=1 ;; raw/*) times=9 ;; esac
        BENCH_FLASH="--verify=ack $([ "$1" = raw ] && echo --raw=on || true)" simulate "inside_writing $times" --bus-rate="$2" --device="$(device_of "$1")"
        read -r write_rate write_cpu < <(for n in 2 3 4; do
                for package in small phone; do awk -v p=$package -v n=$n '$1 == p { print $n }' "$WORK/result" | sort -g | sed -n $(((times + 1) / 2))p; done
        done | paste -s | awk '{ print ($2 - $1) / ($4 - $3), ($6 - $5) / 1e6 / (($2 - $1) / 1073741824) }')
}

# make_large: a package with so much data that writing them stands out from what else a job does.
make_large() {
        [ -f "$scratch/large.pac" ] || "$FDLD_BUILD/pacmaker" phone "$scratch/large.pac" --size=System=${image_mib}M --add=User=userdata --file=User=type=YAFFS_IMG2 --size=User=$((3 * image_mib))M >/dev/null
        ln -sfn large.pac "$scratch/measured.pac"
}

# against_null PART RATE MODE: fdld and the null client in turn, on a link of that rate.
against_null() {
        local part=$1 rate=$2 mode=$3 bytes seconds cpu write_rate write_cpu f=$scratch/f
        rm -f "$f".*
        [ "$part" = link ] || make_large
        for _ in $(seq "$runs"); do
                measure_writing "$mode" "$rate"
                read -r bytes seconds cpu _ < <(null "$mode" --bus-rate="$rate" --device="$(device_of "$mode")")
                awk -v mine="$write_rate" -v cpu="$write_cpu" -v nb="$bytes" -v ns="$seconds" -v nc="$cpu" -v f="$f" 'BEGIN {
                        null = nb / ns / 1e6; gib = nb / 1073741824
                        print mine >>(f ".rates"); print null >>(f ".nulls"); print mine / null * 100 >>(f ".shares")
                        print cpu >>(f ".cpus"); print nc / gib >>(f ".nullcpus"); if (nc > 0) print cpu / (nc / gib) >>(f ".times") }'
                [ "$part" != link ] || continue
                BENCH_FLASH=$([ "$mode" = raw ] && echo --raw=on || true) simulate "inside_jobs 1" --bus-rate="$rate" --device="$(device_of "$mode")"
                awk -v c="$(value cpu)" -v b="$(value bytes)" -v s="$sim_cpu" -v f="$f" 'BEGIN {
                        print c / 1e6 / (b / 1073741824) >>(f ".jobcpus"); print s / 1e6 / (b / 1073741824) >>(f ".sims") }'
        done
        ln -sfn phone.pac "$scratch/measured.pac"
        figure "$part" "$mode: write" MB/s "$f.rates"
        figure "$part" "$mode: null client, same block" MB/s "$f.nulls"
        figure "$part" "$mode: share of the null client" % "$f.shares"
        [ "$part" = link ] && return 0
        figure "$part" "$mode: daemon, writing" CPU-s/GiB "$f.cpus"
        figure "$part" "$mode: null client" CPU-s/GiB "$f.nullcpus"
        [ ! -s "$f.times" ] || figure "$part" "$mode: processor time, of the null client's" times "$f.times"
        figure "$part" "$mode: daemon, whole job, with checking" CPU-s/GiB "$f.jobcpus"
        figure "$part" "$mode: simulator" CPU-s/GiB "$f.sims"
}

bench_kernels() {
        local name form rate spread times
        while read -r name form rate spread times; do
                row kernels "$name ($form), $times times memcpy" GB/s "$rate" "$spread"
        done < <("$FDLD_BUILD/bench-kernels" && "$FDLD_BUILD/bench-firmware" "$scratch/phone.pac")
}

# many_run N FILES SIMULATOR-OPTION…: that many devices while 20 clients watch; adds a line to each of FILES.NAME.
many_run() {
        local n=$1 f=$2 call options=(--nice=10) # so many real ones leave the processors alone
        shift 2
        for _ in $(seq "$n"); do options+=(--device=phone-emmc); done
        BENCH_WATCHERS=20 simulate "inside_jobs $n" "$@" "${options[@]}"
        awk -v w="$(value wall)" -v b="$(value bytes)" -v f="$f" 'BEGIN { print b / w >>(f ".rate") }'
        awk -v c="$(value cpu)" -v b="$(value bytes)" -v f="$f" 'BEGIN { print c / 1e6 / (b / 1073741824) >>(f ".cpu") }'
        value loop_longest >>"$f.loop"; value loop_longest_cpu >>"$f.loopcpu"; value loop_over >>"$f.over"; value loop_over_cpu >>"$f.overcpu"
        value anon >>"$f.anon"; value fairness >>"$f.fair"
        for call in get50 get99 list50 list99 bare50 bare99 signals; do value "call-$call" >>"$f.$call"; done
}

# many_figures WHO FILES: what a bus client sees.
many_figures() {
        figure many "$1: all bytes" MB/s "$2.rate"
        figure many "$1: daemon" CPU-s/GiB "$2.cpu"
        figure many "$1, 20 clients watch: GetAll of the manager, p50" µs "$2.get50"
        figure many "$1, 20 clients watch: the same, p99" µs "$2.get99"
        figure many "$1, 20 clients watch: ListJobs, p50" µs "$2.list50"
        figure many "$1, 20 clients watch: the same, p99" µs "$2.list99"
        figure many "$1, 20 clients watch: a call of the bus, p50" µs "$2.bare50"
        figure many "$1, 20 clients watch: the same, p99" µs "$2.bare99"
        figure many "$1: signals to each client" count "$2.signals"
        figure many "$1: longest dispatch of the main loop" ms "$2.loop"
        figure many "$1: the same, processor time" ms "$2.loopcpu"
        figure many "$1: dispatches above 5 ms" count "$2.over"
        figure many "$1: the same, by processor time" count "$2.overcpu"
}

# As fast as the processors can, simulated devices included, which leaves nobody time; and on controllers of 40 MB/s with 16 devices each, as
# a station has them.
bench_many() {
        local n f=$scratch/m first=
        for n in $counts; do
                rm -f "$f".*
                for _ in $(seq "$runs"); do many_run "$n" "$f" --bus-rate=0; done
                many_figures "$n devices" "$f"
                figure many "$n devices: slowest over median time" ratio "$f.fair"
                figure many "$n devices: most anonymous memory" KiB "$f.anon"
                [ -n "$first" ] && [ "$n" -gt "${first%% *}" ] &&
                        row many "$n devices: most anonymous memory, for each further device" KiB "$(($(middle "$f.anon" | awk -v a="${first#* }" -v n="$n" -v k="${first%% *}" '{ print int(($1 - a) / (n - k)) }')))" ""
                [ -n "$first" ] || first="$n $(middle "$f.anon" | cut -d' ' -f1)"
                [ "$n" -ge 16 ] || continue
                rm -f "$f".*
                ln -sfn small.pac "$scratch/measured.pac"
                for _ in $(seq $(((runs + 2) / 3))); do many_run "$n" "$f" --controllers=$((n / 16)) --bus-rate=40M; done
                ln -sfn phone.pac "$scratch/measured.pac"
                many_figures "$n devices on $((n / 16)) controllers of 40 MB/s" "$f"
        done
}

bench_control() {
        local f=$scratch/c
        rm -f "$f".*
        for _ in $(seq "$runs"); do
                simulate inside_idle --bus-rate=0 --device=phone-emmc
                value start >>"$f.start"; value rss >>"$f.rss"; value anon >>"$f.anon"
                value rss_after >>"$f.rssafter"; value anon_after >>"$f.anonafter"
                awk -v n="$(value wakeups)" 'BEGIN { print n / 10 }' >>"$f.wake"
                simulate "inside_plug 5" --bus-rate=0 --device=phone-emmc,name=u
                cat "$WORK/plugs" >>"$f.plug"
                cat "$WORK/begins" >>"$f.begin"
        done
        figure control "start until the first answer" µs "$f.start"
        figure control "idle: RSS" KiB "$f.rss"
        figure control "idle: anonymous memory" KiB "$f.anon"
        figure control "idle: wake-ups" 1/s "$f.wake"
        figure control "idle after a job: RSS" KiB "$f.rssafter"
        figure control "idle after a job: anonymous memory" KiB "$f.anonafter"
        figure control "plug to first byte" µs "$f.plug"
        figure control "plug to running job, with the call that plugs in" µs "$f.begin"
}

bench_records() {
        local name what
        export BENCH_RECORDS=$records
        simulate inside_records --device=phone-emmc
        row records "$records records, 10000 queued jobs: database" MiB "$(value size)" ""
        while read -r name what; do
                row records "$what" "$([[ $name =~ anon$|^queried$|^checked$ ]] && echo KiB || echo µs)" "$(value "$name")" ""
        done <<'END'
few-start start until the first answer, with one record and one queued job
many-start start until the first answer
few-anon anonymous memory, with one record and one queued job
many-anon anonymous memory
few-status fdlctl status, with one record and one queued job
many-status fdlctl status
many-jobs fdlctl jobs
many-newest fdlctl history: the newest
serial fdlctl history --serial: one
chip fdlctl history --chip: one
slot fdlctl history --slot --result=failed
code fdlctl history --code --until
date fdlctl history --since --until
batch fdlctl history --batch
nothing fdlctl history --serial --since: nothing
mixed fdlctl history --slot --code --result --since --until
queried anonymous memory after these
check fdlctl history --check: all
checked anonymous memory after that
END
}

# peer_run IMAGE: "BYTES MICROSECONDS CPU-MICROSECONDS" of the other flasher, with all that it does besides.
peer_run() {
        local t0 command=$peer
        command=${command//\{fdl1\}/$scratch/fdl1} command=${command//\{fdl2\}/$scratch/fdl2}
        command=${command//\{image\}/$1} command=${command//\{size\}/$(stat -c %s "$1")}
        touch_memory
        t0=$(date +%s%N)
        "$FDLD_BUILD/usbsim" --fast --stats --storage="$scratch/peer" --bus-rate=0 --device=phone-emmc,image-check=0 -- sh -c "$command" >"$scratch/peer.log" 2>&1 ||
                { tail -n 20 "$scratch/peer.log" >&2; echo "bench: the other flasher failed" >&2; exit 1; }
        echo "$(stat -c %s "$1") $((($(date +%s%N) - t0) / 1000)) $(sed -n 's/.*command \([0-9.]*\) s user, \([0-9.]*\) s system.*/\1 \2/p' "$scratch/peer.log" | awk '{ print ($1 + $2) * 1e6 }')"
}

# Writing alone: of both what a large image takes more than a small one.
bench_peer() {
        local f=$scratch/p mode write_rate write_cpu
        head -c 40000 /dev/urandom >"$scratch/fdl1"
        cp "$scratch/fdl1" "$scratch/fdl2"
        head -c 4M "$scratch/image" >"$scratch/small"
        make_large
        peer_run "$scratch/image" >/dev/null # as for fdld, the flash was written before
        for _ in $(seq "$runs"); do
                peer_run "$scratch/small" >"$f.small"
                peer_run "$scratch/image" >"$f.large"
                paste "$f.small" "$f.large" | awk -v f="$f" '{
                        print ($4 - $1) / ($5 - $2) >(f ".rate"); print ($6 - $3) / 1e6 / (($4 - $1) / 1073741824) >(f ".cpu") }'
                cat "$f.rate" >>"$f.rates"; cat "$f.cpu" >>"$f.cpus"
                for mode in plain raw; do
                        measure_writing $mode 0
                        awk -v mine="$write_rate" -v other="$(cat "$f.rate")" 'BEGIN { print mine / other }' >>"$f.$mode.rate"
                        awk -v c="$write_cpu" -v other="$(cat "$f.cpu")" 'BEGIN { if (other > 0) print c / other }' >>"$f.$mode.cpu"
                done
                null plain --bus-rate=0 --device=phone-emmc | awk -v other="$(cat "$f.rate")" '{ print $1 / $2 / 1e6 / other }' >>"$f.nulls"
        done
        ln -sfn phone.pac "$scratch/measured.pac"
        figure peer "the other flasher: write" MB/s "$f.rates"
        figure peer "the other flasher: writing" CPU-s/GiB "$f.cpus"
        for mode in plain raw; do
                figure peer "fdld, $mode: rate, of the other's" times "$f.$mode.rate"
                [ ! -s "$f.$mode.cpu" ] || figure peer "fdld, $mode: processor time, of the other's" times "$f.$mode.cpu"
        done
        figure peer "null client, plain: rate, of the other's, the most there is" times "$f.nulls"
}

# job_instructions MODE: for each byte of an image: two jobs, one with 16 MiB more than the other.
job_instructions() {
        local mib first='' n
        for mib in 4 20; do
                "$FDLD_BUILD/pacmaker" phone "$scratch/phone.pac" --size=System=${mib}M >/dev/null
                BENCH_FLASH="--verify=ack $([ "$1" = raw ] && echo --raw=on || true)" simulate inside_count --bus-rate=0 --device="$(device_of "$1")"
                n=$(value count)
                [ -n "$n" ] || { echo "bench: callgrind counted nothing of a job" >&2; return 1; }
                [ -n "$first" ] || first=$n
        done
        awk -v a="$first" -v b="$n" 'BEGIN { printf "%.3f\n", (b - a) / (16 * 1048576) }'
}

# bench_jobs FORM: the same rules as for the kernels.
bench_jobs() {
        local mode n was status=0
        for mode in $modes; do
                n=$(job_instructions "$mode") || return 1
                row instructions "job, $mode: for each byte of an image" count "$n" ""
                if [ "$store_baseline" = yes ]; then
                        echo "$1/$mode $n" >>"$baseline.new"
                        continue
                fi
                was=$(sed -n "s|^$1/$mode ||p" "$baseline" 2>/dev/null || true)
                [ -n "$was" ] || continue
                row instructions "job, $mode: the same, against the stored count" % "$(awk -v n="$n" -v w="$was" 'BEGIN { printf "%.1f", n / w * 100 }')" ""
                awk -v n="$n" -v w="$was" 'BEGIN { exit n > w * 1.1 }' || { echo "bench: $n instructions for each byte, $was are stored: slower code" >&2; status=1; }
        done
        rm -f "$scratch/phone.pac"
        make_images
        return $status
}

# Counts do not depend on who else is at work. More than 3 % above the stored ones is a failure.
bench_instructions() {
        local n baseline=$here/instructions.txt form was status=0
        command -v valgrind >/dev/null || { echo "bench: valgrind is not installed: instructions are not counted" >&2; return 0; }
        form=$("$FDLD_BUILD/bench-kernels" --form)
        n=$(valgrind --tool=none --trace-children=no true >/dev/null 2>&1 && valgrind --tool=callgrind --callgrind-out-file=/dev/null \
                "$FDLD_BUILD/bench-kernels" --count 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p')
        [ -n "$n" ] || { echo "bench: valgrind counted nothing" >&2; return 1; }
        row instructions "kernels and frames, 8 times 4 MiB ($form)" count "$n" ""
        if [ "$store_baseline" = yes ]; then
                { [ ! -f "$baseline" ] || grep -v -e "^$form " -e "^$form/" "$baseline" || true; echo "$form $n"; } >"$baseline.new"
                bench_jobs "$form" || return 1
                sort -o "$baseline" "$baseline.new"
                rm "$baseline.new"
                return 0
        fi
        bench_jobs "$form" || status=1
        was=$(sed -n "s/^$form //p" "$baseline" 2>/dev/null || true)
        [ -n "$was" ] || return 0
        row instructions "the same, against the stored count" % "$(awk -v n="$n" -v w="$was" 'BEGIN { printf "%.1f", n / w * 100 }')" ""
        [ $((n * 100)) -le $((was * 103)) ] || { echo "bench: $n instructions, $was are stored: slower code" >&2; status=1; }
        return $status
}

status=0
make_images
ln -s phone.pac "$scratch/measured.pac"
! wanted kernels || bench_kernels
! wanted instructions || bench_instructions || status=1
for part in link unlimited; do
        wanted $part || continue
        rate=0
        [ $part = unlimited ] || rate=40M
        for mode in $modes; do against_null $part $rate $mode; done
done
! wanted controller || bench_controller
! wanted many || bench_many
! wanted control || bench_control
! wanted records || bench_records
[ -z "$peer" ] || bench_peer
if [ "$json" = yes ]; then
        awk -F'\t' 'BEGIN { printf "[" } { printf "%s{\"part\":\"%s\",\"what\":\"%s\",\"unit\":\"%s\",\"value\":%s,\"spread_percent\":%s}", (NR > 1 ? ",\n " : ""), $1, $2, $3, $4, ($5 == "" ? "null" : $5) }
                END { print "]" }' "$rows"
fi
exit $status
