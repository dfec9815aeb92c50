/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is written to the standard output from now on is shown with $PAGER, or less, if that is a terminal. Closing waits for the person. */
void pager_open(void);
void pager_close(void);
