/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>
#include <systemd/sd-bus.h>

#include "find.h"

/* What a job leaves behind. */

/* The text of a job's trace, malloc'ed. `quiet`: says nothing if there is none. Exit code. */
int evidence_trace(sd_bus *bus, const char *job_path, bool quiet, char **ret, size_t *ret_size);

/* A trace (the text) as a capture of USB traffic, as tools for that read it: pcap, link type 220. Frames have the bytes that the wire had
 * as far as they were kept, zeros in place of what was not, and checks that fit. 0; -EBADMSG *ret_line tells which line is none;
 * -errno. */
int pcap_write(FILE *out, const char *text, size_t size, unsigned *ret_line);
