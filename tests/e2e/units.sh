# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Many small units for long runs: a phone with a small flash and a small package, the person who plugs them in and out, and the judge who
# compares what the records say with what the flash holds. Sourced after station.sh. Arrays are by socket: 0, 1, …

declare -a uid folder nature since

# The table of the units and of the package, in MiB.
small_table() {
        printf '%s 1\n' prodnv miscdata misc l_fixnv1 l_fixnv2 l_runtimenv1 l_runtimenv2 trustos trustos_bak sml sml_bak uboot uboot_bak \
                vbmeta vbmeta_bak logo fbootlogo l_ldsp l_modem l_deltanv gpsgl gpsbd wcnmodem persist boot recovery dtbo
        printf 'super 4\ncache 1\nuserdata rest\n'
}

# make_small_package FILE [PACMAKER OPTION…]
make_small_package() {
        local file=$1 id sizes=() table
        shift
        for id in Modem_LTE DSP_LTE Modem_WCN GPS_GL GPS_BD BOOT Recovery DTBO Cache BootLogo Fastboot_Logo Trustos Modem_DeltaNV VBMETA SML; do
                sizes+=("--size=$id=16K")
        done
        table=$(small_table | awk '{ printf "%s%s=%s", (NR > 1 ? "," : ""), $1, ($2 == "rest" ? "0xFFFFFFFF" : $2) }')
        "$FDLD_BUILD/pacmaker" phone "$file" --partitions="$table" --remove=ProdNV --size=System=512K --size=FDL2=64K --size=UBOOTLoader=64K \
                "${sizes[@]}" "$@"
}

# spec_of NAME SEED [OPTIONS]: a unit of the small kind for usbsim. TABLE is where small_table was put.
spec_of() { echo "phone-emmc,name=$1,seed=$2,size=64M,table=$TABLE,fdl1-start=2,fdl2-start=5,reset-delay=5${3:+,$3}"; }

# enter_small_world N UNIT_OPTIONS [ENTER_WORLD OPTION…]: with the units u0 … of N sockets; SOCKET in the options is the number of each, from 1.
enter_small_world() {
        local n=$1 options=$2 devices=() i
        shift 2
        TABLE=$(mktemp "${TMPDIR:-/tmp}/fdld-table.XXXXXX")
        export TABLE
        trap 'rm -f "$TABLE"' EXIT
        small_table >"$TABLE"
        for ((i = 0; i < n; i++)); do devices+=("--device=$(spec_of "u$i" $((i + 1)) "${options//SOCKET/$((i + 1))}")"); done
        (enter_world "$@" "${devices[@]}")
        exit
}

# field TEXT NAME: of a flat JSON text
field() { sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p" <<<"$1"; }

# met I FOLDER NATURE: a new unit in socket I: what it holds is kept for later.
met() {
        local text
        text=$(simctl "{\"cmd\":\"describe\",\"device\":\"u$1\"}")
        # shellcheck disable=SC2034 # nature: for who sources this
        uid[$1]=$(field "$text" uid) folder[$1]=$2 nature[$1]=$3
        cp -a --sparse=always "$WORK/flash/$2" "$WORK/before/$2"
}

# forget I: the unit in socket I goes, and its files with it.
forget() { rm -rf "${WORK:?}/before/${folder[$1]}" "${WORK:?}/flash/${folder[$1]}"; }

plug() { simctl "{\"cmd\":\"plug\",\"device\":\"u$1\"}" >/dev/null; }
unplug() { simctl "{\"cmd\":\"unplug\",\"device\":\"u$1\"}" >/dev/null; }

# next_unit I N SEED [NATURE OPTIONS]: another unit comes into socket I; N counts those of the socket from 1. Not plugged in yet.
next_unit() {
        unplug "$1" || true
        simctl "{\"cmd\":\"swap\",\"device\":\"u$1\",\"spec\":\"$(spec_of "u$1" "$3" "${5:-}")\"}" >"$WORK/swap" || fail "no unit: $(cat "$WORK/swap")"
        forget "$1"
        met "$1" "u$1.swap$2" "${4:-good}"
}

is_whole() { "$FDLD_BUILD/flashcheck" "$PACKAGE" "$WORK/before/${folder[$1]}" "$WORK/flash/${folder[$1]}" >"$WORK/why" 2>&1; }
# Nothing that is flashed here touches userdata, which is most of it.
is_untouched() { diff -rq -x userdata "$WORK/before/${folder[$1]}" "$WORK/flash/${folder[$1]}" >/dev/null; }

# look_at_database FILE: nobody runs. All records as lines (see dbcheck.c); those that were there before must be there as they were.
look_at_database() {
        rm -rf "$WORK/copy"
        mkdir "$WORK/copy"
        cp "$WORK/state/fdld.db"* "$WORK/copy/"
        "$FDLD_BUILD/dbcheck" "$WORK/copy/fdld.db" >"$1.new" || fail "the database is not what it must be"
        [ ! -f "$1" ] || cmp -s "$1" <(head -n "$(wc -l <"$1")" "$1.new") || fail "records that were there are gone or were changed"
        mv "$1.new" "$1"
}

# records_of I FILE: the lines of the unit in socket I: those of the socket since it was met.
records_of() { awk -v port=":$(($1 + 1))$" -v since="${since[$1]:-0}" '$1 > since && $5 ~ port' "$2"; }

# judge I FILE: does what the records say of the unit in socket I hold? Leaves its state in $verdict: passed or open.
judge() {
        local done_
        records_of "$1" "$2" | awk -v uid="${uid[$1]}" '$6 != "-" && $6 != uid { exit 1 }' || fail "a record of ${folder[$1]} has the chip of another unit"
        done_=$(records_of "$1" "$2" | awk '$3 == "done"' | wc -l)
        # shellcheck disable=SC2034 # for who calls this
        verdict=open
        [ "$done_" -gt 0 ] || return 0
        [ "$done_" -eq 1 ] || fail "unit ${folder[$1]} passed $done_ times"
        is_whole "$1" || fail "unit ${folder[$1]} passed by its record, but: $(cat "$WORK/why")"
        # shellcheck disable=SC2034 # for who calls this
        verdict=passed
}
