#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each family's package onto a device of that family in upgrade mode, all at once; each is compared byte for byte with what
# the documents say its flash must hold. Among them: two boot loaders in one package (the storage decides), a sparse super of
# 2.5 GiB, loaders without a table, an autodloader, a device that comes back after its first loader, images chosen by the NAND's
# geometry, an extended table, stamps in miscdata, calibration of another family than GSM, a switch against writing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"

# device specification, package, words of the job's note: what could not be proven; the variant that is meant
matrix=(
        'phone-emmc|phone|'
        'phone-ufs-ab|phone-ab|'
        'phone-ufs-ab,slot=b,snapshot|phone-ab-large|'
        'phone-old|phone-old|'
        'phone-lk|phone-lk|'
        'phone-nand|phone-nand|have no table'
        'phone-nand,block=0x40000,page=0x1000,info-order=page-block|phone-nand-variants||_b256k_p4k'
        'phone-nand|phone-nand-variants'
        'phone-emmc,ext-table|phone-extra|'
        'phone-emmc,gate=write-protect,apr=0|phone-extra|build time of the package (APR) not written|no-apr'
        'feature-nor|feature|'
        'feature-nor,loaders=1|feature-one|'
        'phone-emmc,autod|phone|'
        'phone-emmc,second-enum|phone-back|came back'
        'uis8910,image-check=0|uis8910|'
        'uis8850,image-check=0|uis8850|'
)

devices=()
for i in "${!matrix[@]}"; do
        devices+=("--device=${matrix[i]%%|*},name=u$i")
done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >"$WORK/etc/fdld.conf"

make_package() {
        [ -f "$WORK/$1.pac" ] && return 0
        case $1 in
        phone-ab-large) "$FDLD_BUILD/pacmaker" phone-ab "$WORK/$1.pac" --set=product=SIMPHONE_LARGE --size=Super=2560M ;;
        phone-back) "$FDLD_BUILD/pacmaker" phone "$WORK/$1.pac" --set=product=SIMPHONE_BACK --second-enum ;;
        phone-nand-variants)
                "$FDLD_BUILD/pacmaker" phone-nand "$WORK/$1.pac" --set=product=SIMPHONE_VARIANTS \
                        --file=System=name=system_b128k_p2k.img --select=System=flash --variant=System=system_b256k_p4k.img=5M \
                        --file=Cache=name=cache_b128k_p2k.img --select=Cache=flash --variant=Cache=cache_b256k_p4k.img=128K
                ;;
        phone-extra)
                "$FDLD_BUILD/pacmaker" phone "$WORK/$1.pac" --set=product=SIMPHONE_EXTRA --file=BootLogo=type=MiscDataCode2 \
                        --attributes=NV_LTE='CheckCali="GSM,LTE"' \
                        --product-xml='<APR>1</APR><ExtTable><PartitionType tag="paty"><Partition id="l_fixnv1" id2="l_fixnv2" type="1"/></PartitionType></ExtTable>'
                touch -d 2021-03-04T05:06:07Z "$WORK/$1.pac"
                ;;
        *) "$FDLD_BUILD/pacmaker" "$1" "$WORK/$1.pac" ;;
        esac
}

for i in "${!matrix[@]}"; do
        IFS='|' read -r _ package _ _ <<<"${matrix[i]}"
        make_package "$package"
done
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK"/*.pac
jobs=()
for i in "${!matrix[@]}"; do
        IFS='|' read -r _ package _ _ <<<"${matrix[i]}"
        port=$(port_of "u$i")
        start_job flash "$package.pac" --slot="$port"
        jobs+=("$job")
done
expect 0 fdlctl -q wait "${jobs[@]}"
for i in "${!matrix[@]}"; do
        IFS='|' read -r spec package words variant <<<"${matrix[i]}"
        "$FDLD_BUILD/flashcheck" "$WORK/$package.pac" "$WORK/before/u$i" "$WORK/flash/u$i" ${variant:+"$variant"} ||
                fail "flash of $spec is not what $package must make of it"
        expect 0 fdlctl show "${jobs[i]}"
        [ -z "$words" ] || says "$words"
done
stop_station
trap - EXIT
echo "${#matrix[@]} devices of all families"
