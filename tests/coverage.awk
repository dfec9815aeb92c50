#!/usr/bin/awk -f
# SPDX-License-Identifier: LGPL-2.1-or-later
# From "gcov --stdout" of all objects: which lines of daemon/ and client/ ran, by file, by folder, and for what must not go untested.
# A file that is part of several objects, as headers are, counts once: a line ran when it ran in one of them.
#   awk -v top=SOURCES -v uncovered=FILE -f coverage.awk      FILE gets each line that did not run; status 1: a group is below its bound
function part(covered, all) { return all ? 100 * covered / all : 0 }
# 89.96 is not 90.0.
function percent(covered, all) { return sprintf("%5.1f %%", int(10 * part(covered, all)) / 10) }
function row(name, covered, all) { printf "%-44s %6d %6d   %s\n", name, all, covered, percent(covered, all) }
# What each file belongs to besides its folder; a new file of flash/ is a plan's unless it is named as one that drives a device.
function group_of(file) {
        if (file ~ /^daemon\/bsl\//) return "protocol"
        if (file ~ /^daemon\/firmware\//) return "container"
        if (file ~ /^daemon\/flash\// && file !~ /\/(engine|worker|mailbox|trace)[-.]/) return "plan"
        if (file ~ /^daemon\/station\//) return "station"
        return ""
}
# Objects of sources that are gone may still lie in the build folder.
function is_there(file,    line) {
        if (!(file in there)) {
                there[file] = (getline line < (top "/" file)) >= 0
                close(top "/" file)
        }
        return there[file]
}
function sort(list, n,    i, j, one) {
        for (i = 2; i <= n; i++) {
                one = list[i]
                for (j = i - 1; j >= 1 && list[j] > one; j--)
                        list[j + 1] = list[j]
                list[j + 1] = one
        }
}

$1 ~ /^ *-$/ && $2 ~ /^ *0$/ {
        if ($3 == "Source") {
                file = substr($0, index($0, "Source:") + 7)
                if (index(file, top "/") == 1)
                        file = substr(file, length(top) + 2)
                sub(/^(\.\.\/)+/, "", file)
                wanted = file ~ /^(daemon|client)\// && is_there(file)
        }
        next
}
wanted && $1 !~ /^ *-$/ && $2 ~ /^ *[1-9][0-9]*$/ {
        where = file SUBSEP ($2 + 0)
        if (!(where in ran)) {
                ran[where] = 0
                lines[file]++
                text[where] = substr($0, length($1) + length($2) + 3)
        }
        if ($1 !~ /#|=/)
                ran[where] = 1
}
BEGIN { FS = ":" }
END {
        for (where in ran) {
                split(where, at, SUBSEP)
                if (ran[where])
                        hit[at[1]]++
                else
                        printf "%s:%d:%s\n", at[1], at[2], text[where] > uncovered
        }
        for (file in lines) {
                files[++n] = file
                folder = file
                sub(/\/[^\/]*$/, "", folder)
                if (!(folder in folder_lines))
                        folders[++m] = folder
                folder_lines[folder] += lines[file]
                folder_hit[folder] += hit[file]
                group_lines[group_of(file)] += lines[file]
                group_hit[group_of(file)] += hit[file]
                all += lines[file]
                all_hit += hit[file]
        }
        if (!n) {
                print "run: gcov told of no file of the project" > "/dev/stderr"
                exit 1
        }
        sort(files, n)
        sort(folders, m)
        printf "%-44s %6s %6s\n", "", "lines", "ran"
        for (i = 1; i <= n; i++)
                row(files[i], hit[files[i]], lines[files[i]])
        print ""
        for (i = 1; i <= m; i++)
                row(folders[i], folder_hit[folders[i]], folder_lines[folders[i]])
        row("all", all_hit, all)
        print ""
        k = split("protocol container plan station", group, " ")
        for (i = 1; i <= k; i++) {
                row(group[i], group_hit[group[i]], group_lines[group[i]])
                if (part(group_hit[group[i]], group_lines[group[i]]) < 90) {
                        below = below " " group[i]
                        bad = 1
                }
        }
        if (bad)
                print "below 90 %:" below
        exit bad
}
