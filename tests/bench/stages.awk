#!/usr/bin/awk -f
# SPDX-License-Identifier: LGPL-2.1-or-later
# From "fdlctl history --json=short": bytes that the jobs moved, and bytes and time of writing (with the device's own checking); how
# much longer the slowest took than the one in the middle.
function number(text, key,    at) {
        at = index(text, "\"" key "\":")
        return at ? substr(text, at + length(key) + 3) + 0 : 0
}
BEGIN { RS = "\\{\"version\":" }
NR > 1 && /"kind":"flash"/ {
        bytes += number($0, "bytes_done")
        took[++n] = number($0, "finished_usec") - number($0, "started_usec")
        k = split($0, stage, "{\"stage\":")
        for (i = 2; i <= k; i++)
                if (stage[i] ~ /^"(write|checking)"/) {
                        us += number(stage[i], "usec")
                        written += number(stage[i], "bytes")
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
        print "fairness", n ? took[n] / took[int((n + 1) / 2)] : 0
}
