/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Work is over and nobody asks: memory that was only needed for it goes back to the system. What the C library keeps of what was freed,
 * the deep end of the main thread's stack, and the pages of programs and libraries that cannot be changed (the kernel has them still, and
 * shows them again one by one where they are used). Main thread; costs some hundred microseconds. */
void rest_memory(void);
