#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2013 # words without blanks
# Help, manual pages, completion, introspection data, settings and code say the same. Most of it is made from one source, so what fails
# here is a source that is not complete; the text of each failure says what to add where.
set -u # no pipefail: "grep -q" ends before what it reads from
top=$(cd "${FDLD_SOURCE:-.}" && pwd)
build=$(cd "${FDLD_BUILD:-.}" && pwd)
export LC_ALL=C.UTF-8
work=$(mktemp -d "${TMPDIR:-/tmp}/fdld-docs.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0

complain() {
        echo "FAIL: $*" >&2
        bad=1
}

# plain FILE: a manual page without its marks
plain() { sed -e 's/\\f[BIRP]//g' -e 's/\\-/-/g' -e 's/\\(aq/'"'"'/g' "$1"; }

# ---- help ----
"$build/fdlctl" --help >"$work/help" 2>"$work/err" || complain "fdlctl --help fails"
[ -s "$work/err" ] && complain "fdlctl --help writes to the error output"
awk 'length($0) > 80 { print "FAIL: fdlctl --help is wider than 80 columns: " $0; bad = 1 } END { exit bad }' \
        <(iconv -f UTF-8 -t ASCII//TRANSLIT "$work/help" | sed 's/\.\.\././g') >&2 || bad=1
"$build/fdlctl" --no-such-option >"$work/out" 2>/dev/null && complain "an unknown option is taken"
[ -s "$work/out" ] && complain "mistakes of usage are told on the standard output"

# What the code knows, not what the help shows.
verbs=$(sed -nE 's/^[[:space:]]*\{ "([a-z-]+)", "[^"]*", "[^"]*", -?[0-9]+, -?[0-9]+, [a-z_]+ \},.*/\1/p' "$top/client/fdlctl.c")
[ "$(wc -w <<<"$verbs")" -gt 10 ] || complain "the table of verbs in client/fdlctl.c has changed its form; adapt tests/unit/test-docs.sh"
options=$(sed -nE 's/^[[:space:]]*\{ "([a-z-]+)", [^,]+, (NULL|"[A-Z]+"), read_.*/\1/p' "$top/client/options.c")
[ "$(wc -w <<<"$options")" -gt 10 ] || complain "the table of options in client/options.c has changed its form; adapt tests/unit/test-docs.sh"

plain "$build/man/fdlctl.1" >"$work/fdlctl.1"
for verb in $verbs; do
        grep -qE "^  $verb( |\$)" "$work/help" || complain "fdlctl --help does not show the verb $verb: give its row in client/fdlctl.c a help text"
        grep -qE "^$verb( |\$)" "$work/fdlctl.1" || complain "fdlctl(1) does not know the verb $verb: its line in --help is not understood by man/help.awk"
        grep -qF "[$verb]=" "$build/client/completion/fdlctl" || complain "completion for bash does not know the verb $verb (man/help.awk)"
        grep -qF "'$verb:" "$build/client/completion/_fdlctl" || complain "completion for zsh does not know the verb $verb (man/help.awk)"
        grep -qF -- "-a $verb -d" "$build/client/completion/fdlctl.fish" || complain "completion for fish does not know the verb $verb (man/help.awk)"
done
for option in $options; do
        [ "$option" = wait ] && continue # the default, taken for symmetry
        grep -qE -- "--$option( |=|\$)" "$work/help" || complain "fdlctl --help does not show --$option: give its row in client/options.c a help text"
        grep -qE -- "--$option(=|\$)" "$work/fdlctl.1" || complain "fdlctl(1) does not know --$option: its line in --help is not understood by man/help.awk"
        grep -qF -- "[--$option]=" "$build/client/completion/fdlctl" || complain "completion for bash does not know --$option (man/help.awk)"
        grep -qE -- "'--$option=?\[" "$build/client/completion/_fdlctl" || complain "completion for zsh does not know --$option (man/help.awk)"
        grep -qF -- "-l $option " "$build/client/completion/fdlctl.fish" || complain "completion for fish does not know --$option (man/help.awk)"
done
# The other way round: nothing is told that is not there.
for verb in $(sed -nE 's/^  ([a-z][a-z-]*)( .*)?$/\1/p' "$work/help"); do
        grep -qw -- "$verb" <<<"$verbs" || complain "fdlctl --help shows the verb $verb, which is not in the table of client/fdlctl.c"
done
while read -r code text; do
        grep -qE "^\\.B $code\$" "$build/man/fdlctl.1" || complain "fdlctl(1) does not know the exit code $code ($text): add it to man/fdlctl.1.in"
done < <(sed -nE 's/^[[:space:]]*EXIT_([A-Z_]+) = ([0-9]+),.*/\2 \1/p' "$top/client/bus-client.h")

plain "$build/man/fdld.8" >"$work/fdld.8"
for option in $(sed -nE 's/^[[:space:]]*\{"([a-z-]+)", (no|required)_argument, .*/\1/p' "$top/daemon/main.c"); do
        grep -qE -- "--$option(=|\$)" "$work/fdld.8" || complain "fdld(8) does not know --$option: add it to print_help() of daemon/main.c"
done

# ---- D-Bus ----
plain "$build/man/org.fdld.Fdld1.5" >"$work/dbus.5"
for file in "$top"/dbus/org.fdld.Fdld1.*.xml; do
        interface=$(basename "$file" .xml)
        grep -qF "INTERFACE $interface" "$work/dbus.5" ||
                complain "org.fdld.Fdld1(5) does not know $interface: add its file to dist_dbusinterfaces_DATA in Makefile.am"
        for member in $(sed -nE 's/.*<(method|signal) name="([A-Za-z0-9]+)".*/\2/p' "$file"); do
                sed -n "/INTERFACE $interface\"/,/^\\.SH \"INT/p" "$work/dbus.5" | grep -qE "^$member \\(" ||
                        complain "org.fdld.Fdld1(5) does not show $interface.$member (man/dbus.awk)"
        done
        for member in $(sed -nE 's/.*<property name="([A-Za-z0-9]+)".*/\1/p' "$file"); do
                sed -n "/INTERFACE $interface\"/,/^\\.SH \"INT/p" "$work/dbus.5" | grep -qE "^$member [a-z({]" ||
                        complain "org.fdld.Fdld1(5) does not show the property $interface.$member (man/dbus.awk)"
        done
done
for error in $(sed -nE 's/^BUS_ERROR\([A-Z_]+, "([A-Za-z]+)".*/\1/p' "$top/daemon/common/errors.def"); do
        grep -qF "org.fdld.Fdld1.Error.$error" "$work/dbus.5" || complain "org.fdld.Fdld1(5) does not show the error $error (man/dbus.awk)"
done
for prefix in $(sed -nE 's|.*\{BUS_ROOT "/([a-z]+)", BUS_NAME.*|\1|p' "$top/daemon/bus/objects.c"); do
        grep -qE "^\\.I /org/fdld/Fdld1/$prefix/" "$build/man/org.fdld.Fdld1.5" ||
                complain "org.fdld.Fdld1(5) does not tell of objects below /org/fdld/Fdld1/$prefix: add them to man/org.fdld.Fdld1.5.in"
done
# The table says which right a method needs, and the page repeats it.
while read -r kind member action; do
        [ "$action" = ACTION_NONE ] && continue
        grep -A 14 -E "^$member \\(" "$work/dbus.5" | grep -q '^Needs ' || complain "org.fdld.Fdld1(5) does not say what $member ($kind) needs"
done < <(sed -nE 's/^[[:space:]]*\{OBJECT_([A-Z]+), "([A-Za-z]+)", (ACTION_[A-Z_]+),.*/\1 \2 \3/p' "$top/daemon/bus/methods.c")

# ---- settings ----
plain "$build/man/fdld.conf.5" >"$work/conf.5"
camel() { sed -E 's/(^|_)([a-z])/\U\2/g' <<<"$1"; }
keys=$(grep -ohE 'streq\((key|p->key), "[A-Za-z0-9]+"\)' "$top"/daemon/station/settings*.c | sed -E 's/.*"(.*)".*/\1/' | sort -u)
for key in $keys; do
        grep -qE "$key=" "$work/conf.5" || complain "fdld.conf(5) does not know $key=: add it with a comment to systemd/fdld.conf"
done
# X(field, value, floor) of [Timeouts]
for field in $(sed -nE '/BSL_DEADLINES/,/^$/s/.*X\(([a-z0-9_]+),.*/\1/p' "$top/daemon/bsl/session.h"); do
        key=$(camel "$field")
        grep -qE "^$key(M?Sec)=" "$work/conf.5" || complain "fdld.conf(5) does not know ${key}Sec=: add it with a comment to systemd/fdld.conf"
done
# [Profile]
plain "$build/man/fdld.profile.5" >"$work/profile.5"
keys=$(sed -nE 's/^[[:space:]]*\{"([A-Z][A-Za-z]+)", "[a-z-]+", ".*", set_.*/\1/p' "$top/daemon/station/policy.c")
[ "$(wc -w <<<"$keys")" -gt 5 ] || complain "the table of values in daemon/station/policy.c has changed its form; adapt tests/unit/test-docs.sh"
for key in $keys Description; do
        grep -qE "^\.BR? $key=" "$work/profile.5" || complain "fdld.profile(5) does not know $key=: add it to man/fdld.profile.5.in"
done
for key in $(sed -nE 's/^\.BR? ([A-Z][A-Za-z]+)=.*/\1/p' "$work/profile.5"); do
        grep -qw "$key" <<<"$keys Description" || complain "fdld.profile(5) tells of $key=, which is not in daemon/station/policy.c"
done
# Every setting of the shipped file, switched on, is one: the daemon gets as far as the bus, which is not there.
mkdir "$work/etc"
install -d -m 0700 "$work/state"
sed -E 's/^# ?([A-Z][A-Za-z0-9]*=|\[)/\1/' "$top/systemd/fdld.conf" >"$work/etc/fdld.conf"
"$build/fdld" --configuration-directory="$work/etc" --state-directory="$work/state" --runtime-directory="$work" \
        --bus-address=unix:path="$work/nobody" 2>"$work/err"
status=$?
[ "$status" -eq 5 ] || complain "fdld does not take its own fdld.conf with every setting switched on (exit code $status): $(cat "$work/err")"

# ---- form ----
if command -v groff >/dev/null; then
        for page in "$build"/man/*.[158]; do
                warnings=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
                [ -z "$warnings" ] || complain "$page: $warnings"
        done
else
        echo "groff is not installed: the form of the manual pages was not looked at"
fi
for shell in bash zsh fish; do
        file=$build/client/completion/fdlctl
        [ $shell = zsh ] && file=$build/client/completion/_fdlctl
        [ $shell = fish ] && file=$build/client/completion/fdlctl.fish
        if command -v $shell >/dev/null; then
                $shell -n "$file" || complain "$file is no $shell"
        else
                echo "$shell is not installed: its completion was not tried"
        fi
done

# ---- completion, live: what the daemon would say comes from a stand-in ----
mkdir "$work/bin"
cat >"$work/bin/fdlctl" <<'END'
#!/bin/sh
for a; do [ "$a" = slots ] && printf 'socket 1  pci-0:1  empty\nright     pci-0:2  empty\n-         pci-0:3  empty\n'; done
for a; do [ "$a" = jobs ] && printf '17  flash  running\n18  flash  queued\n'; done
for a; do [ "$a" = packages ] && printf '0123456789ab  phone.pac  PHONE\n'; done
exit 0
END
chmod +x "$work/bin/fdlctl"
# offers_SHELL LINE: what the last word of the line could become
offers_bash() {
        # shellcheck disable=SC2016 # for the inner shell
        PATH=$work/bin:$PATH bash -c '. "$0"; IFS=" " read -ra COMP_WORDS <<<"${1//=/ = }"; case $1 in *[\ =]) COMP_WORDS+=("") ;; esac
                COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _fdlctl; printf "%s\n" "${COMPREPLY[@]//\\}"' "$build/client/completion/fdlctl" "$1" 2>/dev/null
}
offers_fish() {
        # shellcheck disable=SC2016
        HOME=$work PATH=$work/bin:$PATH fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$build/client/completion/fdlctl.fish" "$1" 2>/dev/null |
                sed -E 's/\t.*//; s/^--[a-z-]+=(.)/\1/'
}
# In a terminal of its own, as there is no other way to ask: what is added to the list goes into a file, too.
cat >"$work/zshrc" <<'END'
PS1= fpath=($COMPLETION $fpath)
autoload -Uz compinit && compinit -u -d $HOME/dump
bindkey '^I' complete-word
compadd() {
        local -a hits
        if [[ " ${@[1,(i)(-|--)]} " != *\ -(O|A|D)\ * ]]; then
                builtin compadd -A hits "$@"
                (( $#hits )) && print -rl -- $hits >>$OFFERS
        fi
        builtin compadd "$@"
}
finish() { : >$OFFERS.end }
comppostfuncs=(finish)
END
offers_zsh() {
        rm -f "$work"/offers*
        touch "$work/offers"
        # shellcheck disable=SC2016
        COMPLETION=$build/client/completion OFFERS=$work/offers HOME=$work ZDOTDIR=$work TERM=dumb PATH=$work/bin:$PATH zsh -f -c '
                zmodload zsh/zpty && zpty z zsh -f -i && zpty -w z "source $1/zshrc" && zpty -w -n z "$2"$'"'\\t'"'
                for ((i = 0; i < 400; i++)); do [[ -e $1/offers.end ]] && break; zpty -r -t z >/dev/null; sleep 0.02; done
                zpty -d z' zsh "$work" "$1" >/dev/null 2>&1
        sed 's/\\//g' "$work/offers"
}
for shell in bash zsh fish; do
        if ! command -v $shell >/dev/null; then
                echo "$shell is not installed: what it offers was not looked at"
                continue
        fi
        while IFS='|' read -r line want; do
                [ -n "$line" ] || continue
                "offers_$shell" "$line" >"$work/offered"
                grep -qxF -- "$want" "$work/offered" || complain "$shell does not offer '$want' after: $line; it offers: $(tr '\n' ' ' <"$work/offered")"
                ! grep -qx -e - "$work/offered" || complain "$shell offers a dash after: $line"
        done <<'END'
fdlctl stat|status
fdlctl flash --sl|--slot
fdlctl flash --slot=so|socket 1
fdlctl flash --slot=|right
fdlctl flash --slot=|pci-0:3
fdlctl arm |pci-0:3
fdlctl -s |right
fdlctl cancel |17
fdlctl -q wait 17 1|18
fdlctl -q -s right wait |17
fdlctl flash ph|phone.pac
fdlctl remove 0|0123456789ab
fdlctl flash --mode=f|factory
END
        [ "$("offers_$shell" "fdlctl flash --slot=zzz")" = "" ] || complain "$shell offers what does not fit"
done

[ "$bad" = 0 ] && echo "help, manual pages, completion, introspection data, settings and code agree"
exit "$bad"
