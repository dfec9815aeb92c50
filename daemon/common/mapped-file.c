/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/mapped-file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The signal handler may look at nothing but this table: it can interrupt anything, malloc included. A slot is in use
 * while base is not 0; size is written before base, and base is cleared before the pages go. */
#define MAPPINGS_MAX 512

typedef struct Slot {
        _Atomic uintptr_t base;
        _Atomic size_t size;
        _Atomic bool bad;
        atomic_flag taken;
} Slot;

struct MappedFile {
        atomic_uint refs, readers;
        atomic_bool was_read;
        uint64_t size;
        int64_t time;
        struct timespec changed; /* last, when it was opened */
        uint8_t *data;
        Slot *slot;
        int fd;
};

static Slot slots[MAPPINGS_MAX];
static struct sigaction previous;
static size_t page_size = 4096;

static Slot *find_slot(uintptr_t address) {
        for (size_t i = 0; i < MAPPINGS_MAX; i++) {
                uintptr_t base = atomic_load(&slots[i].base);
                size_t size = atomic_load(&slots[i].size);

                /* Asked twice: another thread may have given the slot to another mapping between the two loads. */
                if (base != 0 && address >= base && address - base < size && atomic_load(&slots[i].base) == base)
                        return slots + i;
        }
        return NULL;
}

static void on_sigbus(int sig, siginfo_t *info, _unused_ void *context) {
        uintptr_t address = (uintptr_t) info->si_addr;
        int saved = errno;
        Slot *slot = info->si_code > 0 ? find_slot(address) : NULL;

        if (slot) {
                void *page = (void *) (address & ~(page_size - 1)); /* NOLINT: the fault has an address, no pointer */
                atomic_store(&slot->bad, true);
                /* cppcheck-suppress [invalidFunctionArg, leakReturnValNotUsed] ; -1: no file; the page lies in a mapping that its owner unmaps */
                if (mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page) {
                        errno = saved;
                        return;
                }
        }
        /* Not ours: back to what was before us. The fault comes again by itself, a signal that was sent does not. */
        sigaction(SIGBUS, &previous, NULL);
        if (info->si_code <= 0)
                raise(sig);
        errno = saved;
}

int mapped_file_setup(void) {
        struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
        long n = sysconf(_SC_PAGESIZE);
        sigset_t set;

        if (n > 0)
                page_size = (size_t) n;
        sigemptyset(&action.sa_mask);
        if (sigaction(SIGBUS, &action, &previous) < 0)
                return -errno;
        /* A fault while SIGBUS is blocked ends the process at once, handler or not. */
        sigemptyset(&set);
        sigaddset(&set, SIGBUS);
        return sigprocmask(SIG_UNBLOCK, &set, NULL) < 0 ? -errno : 0;
}

static Slot *take_slot(void) {
        for (size_t i = 0; i < MAPPINGS_MAX; i++)
                if (!atomic_flag_test_and_set(&slots[i].taken))
                        return slots + i;
        return NULL;
}

static MappedFile *mapped_file_free(MappedFile *m) {
        if (m->slot) {
                atomic_store(&m->slot->base, 0);
                if (m->data)
                        munmap(m->data, (size_t) m->size);
                atomic_flag_clear(&m->slot->taken);
        }
        if (m->fd >= 0)
                close(m->fd);
        free(m);
        return NULL;
}
DEFINE_CLEANUP(MappedFile *, mapped_file_free)

static int map_pages(MappedFile *m) {
        void *p;

        if (m->size == 0)
                return 0;
        if (m->size > SIZE_MAX / 2)
                return -EFBIG;
        m->slot = take_slot();
        if (!m->slot)
                return -ENFILE;
        p = mmap(NULL, (size_t) m->size, PROT_READ, MAP_SHARED, m->fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        m->data = p;
        atomic_store(&m->slot->bad, false);
        atomic_store(&m->slot->size, (size_t) m->size);
        atomic_store(&m->slot->base, (uintptr_t) p);
        return 0;
}

int mapped_file_take(int fd, MappedFile **ret) {
        _cleanup_(mapped_file_freep) MappedFile *m = calloc(1, sizeof(*m));
        struct stat st;
        int r;

        if (!m)
                return -ENOMEM;
        atomic_init(&m->refs, 1);
        atomic_init(&m->readers, 0);
        m->fd = -EBADF;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EBADF;
        m->size = (uint64_t) st.st_size;
        m->time = st.st_mtime;
        m->changed = st.st_mtim;
        m->fd = fd;
        r = map_pages(m);
        if (r < 0) {
                m->fd = -EBADF; /* still the caller's */
                return r;
        }
        *ret = TAKE_PTR(m);
        return 0;
}

int mapped_file_open(const char *path, MappedFile **ret) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        int r;

        if (fd < 0)
                return -errno;
        r = mapped_file_take(fd, ret);
        if (r == 0)
                fd = -EBADF;
        return r;
}

MappedFile *mapped_file_ref(MappedFile *m) {
        if (m)
                atomic_fetch_add(&m->refs, 1);
        return m;
}

MappedFile *mapped_file_unref(MappedFile *m) {
        if (m && atomic_fetch_sub(&m->refs, 1) == 1)
                mapped_file_free(m);
        return NULL;
}

void mapped_file_busy(MappedFile *m) {
        if (m)
                atomic_fetch_add(&m->readers, 1);
}

void mapped_file_rest(MappedFile *m) {
        if (!m)
                return;
        atomic_store(&m->was_read, true);
        atomic_fetch_sub(&m->readers, 1);
}

bool mapped_file_rests(const MappedFile *m) {
        return m && atomic_load(&m->was_read) && atomic_load(&m->readers) == 0;
}

/* Somebody who begins just now finds the pages missing and gets them again. */
void mapped_file_give_back(MappedFile *m) {
        if (mapped_file_rests(m) && m->data && atomic_exchange(&m->was_read, false))
                (void) madvise(m->data, (size_t) m->size, MADV_DONTNEED);
}

const uint8_t *mapped_file_data(const MappedFile *m) {
        return m->data;
}

int64_t mapped_file_time(const MappedFile *m) {
        return m->time;
}

bool mapped_file_unchanged(const MappedFile *m) {
        struct stat st;

        return fstat(m->fd, &st) == 0 && (uint64_t) st.st_size == m->size && st.st_mtim.tv_sec == m->changed.tv_sec &&
               st.st_mtim.tv_nsec == m->changed.tv_nsec;
}

uint64_t mapped_file_size(const MappedFile *m) {
        return m->size;
}

bool mapped_file_ok(MappedFile *m) {
        struct stat st;

        /* The copy that the caller made must not be moved behind the question. */
        atomic_thread_fence(memory_order_seq_cst);
        if (!m->slot)
                return true;
        if (atomic_load(&m->slot->bad))
                return false;
        /* A file cut within its last page reads as zeros without any signal. */
        if (fstat(m->fd, &st) < 0 || (uint64_t) st.st_size < m->size)
                atomic_store(&m->slot->bad, true);
        return !atomic_load(&m->slot->bad);
}
