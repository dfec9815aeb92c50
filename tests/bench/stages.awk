#!/usr/bin/awk -f
# SPDX-License-Identifier: LGPL-2.1-or-later
# From "fdlctl history --json=short": bytes that the jobs moved, and bytes and time of writing (with the device's own checking), and from
# the first job's beginning to write until the last one's end; how much longer the slowest took than the one in the middle.
function number(text, key,    at) {
        at = index(text, "\"" key "\":")
        return at ? substr(text, at + length(key) + 3) + 0 : 0
}
BEGIN { RS = "\\{\"version\":" }
NR > 1 && /"kind":"flash"/ {
        bytes += number($0, "bytes_done")
        took[++n] = number($0, "finished_usec") - number($0, "started_usec")
        k = split($0, stage, "{\"stage\":")
        at = number($0, "started_usec")
        for (i = 2; i <= k; i++) {
                if (stage[i] ~ /^"(write|checking)"/) {
                        us += number(stage[i], "usec")
                        written += number(stage[i], "bytes")
                        if (!from || at < from)
                                from = at
                        if (at + number(stage[i], "usec") > to)
                                to = at + number(stage[i], "usec")
                }
                at += number(stage[i], "usec")
        }
}
END {
        for (i = 2; i <= n; i++)
                for (j = i; j > 1 && took[j] < took[j - 1]; j--) {
                        t = took[j]; took[j] = took[j - 1]; took[j - 1] = t
                }
        print "bytes", bytes
        print "write_us", us
        print "write_bytes", written
        print "write_window", to - from
        print "fairness", n ? took[n] / took[int((n + 1) / 2)] : 0
}
