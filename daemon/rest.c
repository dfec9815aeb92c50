/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rest.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/macro.h"

/* So far below the present depth of the stack nothing is touched, and so much below that is given back. */
#define STACK_NEAR (32U * 1024)
#define STACK_DEEP (2U * 1024 * 1024)

/* Code that the linker has written into is not the same in the file. */
static bool is_patched(const struct dl_phdr_info *info) {
        for (unsigned i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Dyn) *d = (const ElfW(Dyn) *) (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr); /* NOLINT: an address of the linker's */

                if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
                        continue;
                for (; d->d_tag != DT_NULL; d++)
                        if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
                                return true;
        }
        return false;
}

static int give_back_segments(struct dl_phdr_info *info, size_t size _unused_, void *userdata) {
        uintptr_t page = *(const uintptr_t *) userdata;

        for (unsigned i = 0; i < info->dlpi_phnum && !is_patched(info); i++) {
                const ElfW(Phdr) *p = info->dlpi_phdr + i;
                uintptr_t from = (info->dlpi_addr + p->p_vaddr) & ~(page - 1), to = (info->dlpi_addr + p->p_vaddr + p->p_filesz) & ~(page - 1);

                if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) && from < to)
                        (void) madvise((void *) from, to - from, MADV_DONTNEED); /* NOLINT: an address of the linker's */
        }
        return 0;
}

/* What is not there yet is passed over. */
static void give_back_stack(uintptr_t page) {
        uintptr_t to = ((uintptr_t) __builtin_frame_address(0) - STACK_NEAR) & ~(page - 1);

        (void) madvise((void *) (to - STACK_DEEP), STACK_DEEP, MADV_DONTNEED); /* NOLINT: an address of the stack's */
}

void rest_memory(void) {
        uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);

        (void) malloc_trim(0);
        give_back_stack(page);
        dl_iterate_phdr(give_back_segments, &page);
}
