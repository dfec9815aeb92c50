/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* open() and its kin are defined here, so the headers must not define them as well. */
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS
#include "power-cut.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/macro.h"
#include "must.h"

#define SECTOR ((size_t) 512)
#define NAME_SIZE 96

/* What lies between `filled` and `size` is zero. */
typedef struct Bytes {
        uint8_t *data;
        size_t size, filled, room;
} Bytes;

typedef struct Entry {
        char name[NAME_SIZE];
        unsigned node;
} Entry;

/* What a file or a directory holds. */
typedef struct Content {
        Bytes bytes;
        Entry *entries;
        size_t n_entries;
} Content;

/* A file or directory, also after it was removed. */
typedef struct Node {
        dev_t dev;
        ino_t ino;
        bool directory;
        Content base, synced;      /* when the watch began; at Disk.reached */
        size_t *pending, n_pending; /* events since the last sync */
} Node;

typedef enum EventKind { EVENT_WRITE, EVENT_RESIZE, EVENT_LINK, EVENT_UNLINK, EVENT_RENAME, EVENT_SYNC } EventKind;

typedef struct Event {
        EventKind kind;
        unsigned node, other;      /* other: what a name is made for */
        uint64_t at;
        uint8_t *data;
        size_t size;
        char name[NAME_SIZE], to[NAME_SIZE];
} Event;

struct Disk {
        Node *nodes;               /* the first is the watched directory */
        unsigned n_nodes;
        Event *events;
        size_t n_events, reached;
        bool held;
        unsigned n_held;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Disk *watched;

uint64_t random_next(uint64_t *state) {
        uint64_t x = *state += 0x9e3779b97f4a7c15;

        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
        x = (x ^ x >> 27) * 0x94d049bb133111eb;
        return x ^ x >> 31;
}

static bool coin(uint64_t *state) {
        return random_next(state) & 1;
}

/* Room for one more: 16, 32, 64, … */
static void *more(void *array, size_t n, size_t size) {
        if (n > 0 && (n < 16 || (n & (n - 1)) != 0))
                return array;
        array = reallocarray(array, n == 0 ? 16 : n * 2, size);
        must(array != NULL, "no memory");
        return array;
}

/* ---- contents ---- */

static void bytes_resize(Bytes *b, size_t size) {
        b->size = size;
        b->filled = MIN(b->filled, size);
}

static void bytes_fill(Bytes *b, size_t size) {
        if (size > b->room) {
                b->room = MAX(size, b->room * 2);
                b->data = realloc(b->data, b->room);
                must(b->data != NULL, "no memory");
        }
        if (size > b->filled) {
                memset(b->data + b->filled, 0, size - b->filled);
                b->filled = size;
        }
        b->size = MAX(b->size, size);
}

static void bytes_put(Bytes *b, uint64_t at, const void *data, size_t size) {
        bytes_fill(b, at + size);
        if (size > 0)
                memcpy(b->data + at, data, size);
}

static Entry *entry_find(Content *c, const char *name) {
        for (size_t i = 0; i < c->n_entries; i++)
                if (streq(c->entries[i].name, name))
                        return c->entries + i;
        return NULL;
}

static void entry_remove(Content *c, const char *name) {
        Entry *e = entry_find(c, name);

        if (e)
                *e = c->entries[--c->n_entries];
}

static void entry_set(Content *c, const char *name, unsigned node) {
        Entry *e = entry_find(c, name);

        if (!e) {
                c->entries = more(c->entries, c->n_entries, sizeof(*e));
                e = c->entries + c->n_entries++;
                snprintf(e->name, sizeof(e->name), "%s", name);
        }
        e->node = node;
}

static void content_free(Content *c) {
        free(c->bytes.data);
        free(c->entries);
        *c = (Content){};
}

static void content_copy(Content *to, const Content *from) {
        to->bytes.filled = to->n_entries = 0;
        bytes_put(&to->bytes, 0, from->bytes.data, from->bytes.filled);
        bytes_resize(&to->bytes, from->bytes.size);
        for (size_t i = 0; i < from->n_entries; i++)
                entry_set(to, from->entries[i].name, from->entries[i].node);
}

static void apply(Content *c, const Event *e) {
        switch (e->kind) {
        case EVENT_WRITE:
                bytes_put(&c->bytes, e->at, e->data, e->size);
                break;
        case EVENT_RESIZE:
                bytes_resize(&c->bytes, e->size);
                break;
        case EVENT_RENAME:
                entry_remove(c, e->name);
                entry_set(c, e->to, e->other);
                break;
        case EVENT_LINK:
                entry_set(c, e->name, e->other);
                break;
        case EVENT_UNLINK:
                entry_remove(c, e->name);
                break;
        case EVENT_SYNC:
                break;
        }
}

/* ---- writing down ---- */

static unsigned node_new(Disk *d, const struct stat *st) {
        d->nodes = more(d->nodes, d->n_nodes, sizeof(*d->nodes));
        d->nodes[d->n_nodes] = (Node){.dev = st->st_dev, .ino = st->st_ino, .directory = S_ISDIR(st->st_mode)};
        return d->n_nodes++;
}

/* The newest: numbers of removed files come again. -1: none of ours. */
static int node_of(const struct stat *st) {
        for (unsigned i = watched ? watched->n_nodes : 0; i-- > 0;)
                if (watched->nodes[i].ino == st->st_ino && watched->nodes[i].dev == st->st_dev &&
                    watched->nodes[i].directory == S_ISDIR(st->st_mode))
                        return (int) i;
        return -1;
}

static int node_of_fd(int fd) {
        struct stat st;

        return watched && fstat(fd, &st) == 0 ? node_of(&st) : -1;
}

static int node_at(int dir_fd, const char *path) {
        struct stat st;

        return watched && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? node_of(&st) : -1;
}

static int parent_of(int dir_fd, const char *path, const char **ret_name) {
        const char *slash = strrchr(path, '/');
        char parent[PATH_MAX];

        *ret_name = slash ? slash + 1 : path;
        if (!watched)
                return -1;
        if (slash == path)
                return node_at(AT_FDCWD, "/");
        snprintf(parent, sizeof(parent), "%.*s", slash ? (int) (slash - path) : 1, slash ? path : ".");
        return node_at(dir_fd, parent);
}

static Event *note(EventKind kind, int node) {
        Event *e;

        watched->events = more(watched->events, watched->n_events, sizeof(*e));
        e = watched->events + watched->n_events++;
        *e = (Event){.kind = kind, .node = (unsigned) node};
        return e;
}

static void note_name(EventKind kind, int parent, const char *name, const char *to, int other) {
        Event *e = note(kind, parent);

        must(strlen(name) < NAME_SIZE && strlen(to) < NAME_SIZE, "a longer name than expected: %s %s", name, to);
        strcpy(e->name, name);
        strcpy(e->to, to);
        e->other = (unsigned) other;
}

static void note_data(int node, uint64_t at, const void *data, size_t size) {
        Event *e = note(EVENT_WRITE, node);

        e->at = at;
        e->size = size;
        e->data = malloc(size);
        must(e->data != NULL, "no memory");
        memcpy(e->data, data, size);
}

/* Something is about to happen to what is watched. */
static void stop_if_held(int node) {
        if (node < 0 || !watched->held)
                return;
        watched->n_held++;
        pthread_cond_broadcast(&changed);
        while (watched->held)
                pthread_cond_wait(&changed, &mutex);
}

/* ---- the system calls ---- */

/* Where a file's size has 64 bits anyway, its calls have the same form under both names. */
bool disk_possible(void) {
        return sizeof(void *) >= 8;
}

#if __SIZEOF_POINTER__ >= 8
#pragma GCC visibility push(default)

static int open_noted(int dir_fd, const char *path, int flags, mode_t mode) {
        const char *name = path;
        int parent, fd, before;

        pthread_mutex_lock(&mutex);
        parent = flags & (O_CREAT | O_TRUNC) ? parent_of(dir_fd, path, &name) : -1;
        stop_if_held(parent);
        before = parent >= 0 ? node_at(dir_fd, path) : -1;
        fd = (int) syscall(SYS_openat, dir_fd, path, flags, mode);
        if (fd >= 0 && parent >= 0 && before < 0 && (flags & O_TMPFILE) != O_TMPFILE) {
                struct stat st;
                must(fstat(fd, &st) == 0, "fstat: %s", strerror(errno));
                note_name(EVENT_LINK, parent, name, "", (int) node_new(watched, &st));
        } else if (fd >= 0 && before >= 0 && (flags & O_TRUNC))
                note(EVENT_RESIZE, before);
        pthread_mutex_unlock(&mutex);
        return fd;
}

static mode_t mode_argument(int flags, va_list ap) {
        return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name)                                                                     \
        int name(const char *path, int flags, ...) {                                   \
                va_list ap;                                                            \
                mode_t mode;                                                           \
                va_start(ap, flags);                                                   \
                mode = mode_argument(flags, ap);                                       \
                va_end(ap);                                                            \
                return open_noted(AT_FDCWD, path, flags, mode);                        \
        }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                   \
        int name(int dir_fd, const char *path, int flags, ...) {                       \
                va_list ap;                                                            \
                mode_t mode;                                                           \
                va_start(ap, flags);                                                   \
                mode = mode_argument(flags, ap);                                       \
                va_end(ap);                                                            \
                return open_noted(dir_fd, path, flags, mode);                          \
        }
OPENAT(openat)
OPENAT(openat64)

/* at: -1 where the descriptor stands. */
static ssize_t write_noted(int fd, const void *data, size_t size, off_t at) {
        off_t where = at;
        ssize_t n;
        int node;

        pthread_mutex_lock(&mutex);
        node = node_of_fd(fd);
        stop_if_held(node);
        if (node >= 0 && at < 0)
                where = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
        /* What is not ours may block. */
        if (node < 0)
                pthread_mutex_unlock(&mutex);
        n = at < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, at);
        if (node < 0)
                return n;
        if (n > 0)
                note_data(node, (uint64_t) where, data, (size_t) n);
        pthread_mutex_unlock(&mutex);
        return n;
}

ssize_t write(int fd, const void *data, size_t size) {
        return write_noted(fd, data, size, -1);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
        return write_noted(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
        return write_noted(fd, data, size, at);
}

static int resize_noted(int fd, off_t size, bool shrink, int (*call)(int fd, int mode, off_t at, off_t size), int mode, off_t at) {
        struct stat st;
        int node, r;

        pthread_mutex_lock(&mutex);
        node = node_of_fd(fd);
        stop_if_held(node);
        r = call(fd, mode, at, size);
        if (r == 0 && node >= 0 && fstat(fd, &st) == 0 && (shrink || mode == 0))
                note(EVENT_RESIZE, node)->size = (size_t) st.st_size;
        pthread_mutex_unlock(&mutex);
        return r;
}

static int do_ftruncate(int fd, int mode _unused_, off_t at _unused_, off_t size) {
        return (int) syscall(SYS_ftruncate, fd, size);
}

/* Holes will do, and cost nothing. */
static int do_fallocate(int fd, int mode, off_t at, off_t size) {
        struct stat st;

        if (mode != 0)
                return (int) syscall(SYS_fallocate, fd, mode, at, size);
        return fstat(fd, &st) < 0 ? -1 : st.st_size >= at + size ? 0 : (int) syscall(SYS_ftruncate, fd, at + size);
}

int ftruncate(int fd, off_t size) {
        return resize_noted(fd, size, true, do_ftruncate, 0, 0);
}

int ftruncate64(int fd, off_t size) {
        return resize_noted(fd, size, true, do_ftruncate, 0, 0);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
        return resize_noted(fd, size, false, do_fallocate, mode, at);
}

int fallocate64(int fd, int mode, off_t at, off_t size) {
        return resize_noted(fd, size, false, do_fallocate, mode, at);
}

static int sync_noted(int fd) {
        int node;

        if (fcntl(fd, F_GETFD) < 0)
                return -1;
        pthread_mutex_lock(&mutex);
        node = node_of_fd(fd);
        stop_if_held(node);
        if (node >= 0)
                note(EVENT_SYNC, node);
        pthread_mutex_unlock(&mutex);
        return 0;
}

int fsync(int fd) {
        return sync_noted(fd);
}

int fdatasync(int fd) {
        return sync_noted(fd);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
        const char *name, *new_name;
        int parent, new_parent, node, r;

        pthread_mutex_lock(&mutex);
        parent = parent_of(from_fd, from, &name);
        new_parent = parent_of(to_fd, to, &new_name);
        stop_if_held(parent);
        must(parent == new_parent, "renamed from one directory into another: %s %s", from, to);
        node = parent >= 0 ? node_at(from_fd, from) : -1;
        r = (int) syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
        if (r == 0 && parent >= 0)
                note_name(EVENT_RENAME, parent, name, new_name, node);
        pthread_mutex_unlock(&mutex);
        return r;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
        return renameat2(from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to) {
        return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int dir_fd, const char *path, int flags) {
        const char *name;
        int parent, r;

        pthread_mutex_lock(&mutex);
        parent = parent_of(dir_fd, path, &name);
        stop_if_held(parent);
        r = (int) syscall(SYS_unlinkat, dir_fd, path, flags);
        if (r == 0 && parent >= 0)
                note_name(EVENT_UNLINK, parent, name, "", 0);
        pthread_mutex_unlock(&mutex);
        return r;
}

int unlink(const char *path) {
        return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir_fd, const char *path, mode_t mode) {
        const char *name;
        struct stat st;
        int parent, r;

        pthread_mutex_lock(&mutex);
        parent = parent_of(dir_fd, path, &name);
        stop_if_held(parent);
        r = (int) syscall(SYS_mkdirat, dir_fd, path, mode);
        if (r == 0 && parent >= 0 && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
                note_name(EVENT_LINK, parent, name, "", (int) node_new(watched, &st));
        pthread_mutex_unlock(&mutex);
        return r;
}

int mkdir(const char *path, mode_t mode) {
        return mkdirat(AT_FDCWD, path, mode);
}

/* Shared blocks would come past us. */
int ioctl(int fd, unsigned long request, ...) {
        va_list ap;
        void *argument;

        if (request == FICLONERANGE) {
                errno = EOPNOTSUPP;
                return -1;
        }
        va_start(ap, request);
        argument = va_arg(ap, void *);
        va_end(ap);
        return (int) syscall(SYS_ioctl, fd, request, argument);
}

#pragma GCC visibility pop
#endif

/* ---- watching ---- */

static void scan_file(Node *n, const char *path, size_t size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        must(fd >= 0, "%s: %s", path, strerror(errno));
        bytes_fill(&n->base.bytes, size);
        for (size_t at = 0; at < size;) {
                ssize_t r = pread(fd, n->base.bytes.data + at, size - at, (off_t) at);
                must(r > 0, "%s cannot be read", path);
                at += (size_t) r;
        }
        close(fd);
}

static unsigned scan(Disk *d, const char *path) {
        char child[PATH_MAX];
        struct stat st;
        unsigned self;
        DIR *dir;

        must(lstat(path, &st) == 0, "%s: %s", path, strerror(errno));
        self = node_new(d, &st);
        if (!S_ISDIR(st.st_mode)) {
                scan_file(d->nodes + self, path, (size_t) st.st_size);
                return self;
        }
        dir = opendir(path);
        must(dir != NULL, "%s: %s", path, strerror(errno));
        for (struct dirent *i; (i = readdir(dir));) {
                unsigned node;
                if (streq(i->d_name, ".") || streq(i->d_name, ".."))
                        continue;
                snprintf(child, sizeof(child), "%s/%s", path, i->d_name);
                node = scan(d, child);
                entry_set(&d->nodes[self].base, i->d_name, node);
        }
        closedir(dir);
        return self;
}

static void rewind_to_base(Disk *d) {
        for (unsigned i = 0; i < d->n_nodes; i++) {
                content_copy(&d->nodes[i].synced, &d->nodes[i].base);
                d->nodes[i].n_pending = 0;
        }
        d->reached = 0;
}

Disk *disk_watch(const char *directory) {
        Disk *d = calloc(1, sizeof(*d));

        must(d && !watched, "no memory, or watching another one");
        scan(d, directory);
        rewind_to_base(d);
        pthread_mutex_lock(&mutex);
        watched = d;
        pthread_mutex_unlock(&mutex);
        return d;
}

void disk_unwatch(Disk *d) {
        pthread_mutex_lock(&mutex);
        must(watched == d, "not watched");
        watched = NULL;
        pthread_mutex_unlock(&mutex);
}

void disk_free(Disk *d) {
        for (unsigned i = 0; i < d->n_nodes; i++) {
                content_free(&d->nodes[i].base);
                content_free(&d->nodes[i].synced);
                free(d->nodes[i].pending);
        }
        for (size_t i = 0; i < d->n_events; i++)
                free(d->events[i].data);
        free(d->nodes);
        free(d->events);
        free(d);
}

size_t disk_now(const Disk *d) {
        size_t n;

        pthread_mutex_lock(&mutex);
        n = d->n_events;
        pthread_mutex_unlock(&mutex);
        return n;
}

bool disk_syncs_at(const Disk *d, size_t n) {
        return n < d->n_events && d->events[n].kind == EVENT_SYNC;
}

void disk_hold(Disk *d) {
        pthread_mutex_lock(&mutex);
        d->held = true;
        d->n_held = 0;
        pthread_mutex_unlock(&mutex);
}

void disk_await_held(Disk *d) {
        pthread_mutex_lock(&mutex);
        while (d->n_held == 0)
                pthread_cond_wait(&changed, &mutex);
        pthread_mutex_unlock(&mutex);
}

void disk_release(Disk *d) {
        pthread_mutex_lock(&mutex);
        d->held = false;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
}

/* ---- cutting ---- */

static void reach(Disk *d, size_t at) {
        must(at <= d->n_events, "a cut in the future");
        if (at < d->reached)
                rewind_to_base(d);
        for (; d->reached < at; d->reached++) {
                const Event *e = d->events + d->reached;
                Node *n = d->nodes + e->node;
                if (e->kind != EVENT_SYNC) {
                        n->pending = more(n->pending, n->n_pending, sizeof(*n->pending));
                        n->pending[n->n_pending++] = d->reached;
                        continue;
                }
                for (size_t i = 0; i < n->n_pending; i++)
                        apply(&n->synced, d->events + n->pending[i]);
                n->n_pending = 0;
        }
}

/* A file that was made longer before its data arrived has zeros there, or what lay on the disk. */
static void grow(Bytes *b, size_t size, uint64_t *random) {
        size_t before = b->size;
        bool dirty = coin(random);

        if (size <= before)
                return;
        if (!dirty) {
                bytes_resize(b, size);
                return;
        }
        bytes_fill(b, size);
        for (size_t i = before; i < size; i++)
                b->data[i] = (uint8_t) random_next(random);
}

static void tear(Bytes *b, const Event *e, uint64_t *random) {
        uint64_t end = e->at + e->size, point = e->at + random_next(random) % (e->size + 1);
        unsigned shape = (unsigned) (random_next(random) % 3);

        if (coin(random))
                grow(b, end, random);
        for (uint64_t at = e->at, next; at < end; at = next) {
                next = MIN(end, (at / SECTOR + 1) * SECTOR);
                if (shape == 0 ? coin(random) : shape == 1 ? next <= point : at >= point)
                        bytes_put(b, at, e->data + (at - e->at), next - at);
        }
}

typedef struct Fate {
        Cut how;
        size_t until;              /* of what is done in order */
        bool names_in_order;       /* as journals of file systems do it */
        uint64_t random;
} Fate;

static void decide(Content *c, const Event *e, size_t index, Fate *f) {
        unsigned choice = (unsigned) (random_next(&f->random) % 4);
        bool in_order = f->how == CUT_LATE || (f->names_in_order && e->kind >= EVENT_LINK);

        if (f->how == CUT_KEEPS || (f->how != CUT_LOSES && in_order && index < f->until)) {
                apply(c, e);
                return;
        }
        if (f->how == CUT_LOSES || (in_order && index > f->until))
                return;
        if (e->kind == EVENT_WRITE && (in_order || choice >= 2))
                tear(&c->bytes, e, &f->random);
        else if (choice % 2 == 0)
                apply(c, e);
}

static size_t first_pending(const Disk *d, size_t at) {
        for (unsigned i = 0; i < d->n_nodes; i++)
                if (d->nodes[i].n_pending > 0)
                        at = MIN(at, d->nodes[i].pending[0]);
        return at;
}

static void write_file(const char *path, const Bytes *b) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        must(fd >= 0, "%s: %s", path, strerror(errno));
        for (size_t at = 0; at < b->filled;) {
                ssize_t n = pwrite(fd, b->data + at, b->filled - at, (off_t) at);
                must(n > 0, "%s: %s", path, strerror(errno));
                at += (size_t) n;
        }
        must(ftruncate(fd, (off_t) b->size) == 0, "%s: %s", path, strerror(errno));
        close(fd);
}

static void write_node(const Disk *d, unsigned node, Fate *f, const char *path) {
        const Node *n = d->nodes + node;
        Content changed_content = {};
        const Content *c = &n->synced;
        char child[PATH_MAX];

        if (n->n_pending > 0) {
                content_copy(&changed_content, c);
                for (size_t i = 0; i < n->n_pending; i++)
                        decide(&changed_content, d->events + n->pending[i], n->pending[i], f);
                c = &changed_content;
        }
        if (!n->directory)
                write_file(path, &c->bytes);
        else
                must(mkdir(path, 0700) == 0, "%s: %s", path, strerror(errno));
        for (size_t i = 0; i < c->n_entries; i++) {
                snprintf(child, sizeof(child), "%s/%s", path, c->entries[i].name);
                write_node(d, c->entries[i].node, f, child);
        }
        content_free(&changed_content);
}

void disk_cut(Disk *d, size_t at, Cut how, uint64_t seed, const char *to) {
        Fate f = {.how = how, .random = seed};
        size_t first;

        reach(d, at);
        first = first_pending(d, at);
        f.until = first + random_next(&f.random) % (at - first + 1);
        f.names_in_order = coin(&f.random);
        write_node(d, 0, &f, to);
}
