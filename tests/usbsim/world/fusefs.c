/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 35
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file system on /dev/bus/usb. Nothing is cached: devices come and go. */

enum { INO_ROOT = 1, INO_BUS = 0x100, INO_NODE = 0x10000, THREADS = 8 };

static World *world;

static Permission node_permission(const Node *n) {
        Permission p = PERM_OK;

        if (n->unit) {
                pthread_mutex_lock(n->lock);
                p = n->unit->o.permission;
                pthread_mutex_unlock(n->lock);
        }
        return p;
}

static int fill(fuse_ino_t ino, struct stat *st) {
        static const mode_t modes[] = { [PERM_OK] = 0666, [PERM_READ_ONLY] = 0644, [PERM_DENIED] = 0600 };
        Node *n;

        *st = (struct stat){
                .st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2, .st_uid = getuid(), .st_gid = getgid()
        };
        if (ino < INO_NODE)
                return ino == INO_ROOT || (ino > INO_BUS && ino <= INO_BUS + world->n_buses) ? 0 : ENOENT;
        n = node_by_ino(world, ino);
        if (!n)
                return ENOENT;
        st->st_mode = S_IFREG | modes[node_permission(n)];
        st->st_nlink = 1;
        st->st_size = (off_t) n->descriptors_size;
        node_unref(n);
        return 0;
}

static fuse_ino_t find(fuse_ino_t parent, const char *name) {
        uint64_t number;

        if (strlen(name) != 3 || !parse_u64(name, 999, &number))
                return 0;
        if (parent == INO_ROOT)
                return INO_BUS + number;
        Node *n = node_by_number(world, (unsigned) (parent - INO_BUS), (unsigned) number);
        fuse_ino_t ino = n ? n->ino : 0;
        node_unref(n);
        return ino;
}

static void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
        struct fuse_entry_param e = {};

        e.ino = find(parent, name);
        if (e.ino == 0 || fill(e.ino, &e.attr) != 0)
                fuse_reply_err(req, ENOENT);
        else
                fuse_reply_entry(req, &e);
}

static void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi UNUSED) {
        struct stat st;
        int r = fill(ino, &st);

        if (r != 0)
                fuse_reply_err(req, r);
        else
                fuse_reply_attr(req, &st, 0);
}

static bool refused(const Node *n, bool read, bool write) {
        Permission p = node_permission(n);

        return (p == PERM_DENIED && (read || write)) || (p == PERM_READ_ONLY && write);
}

static void fs_access(fuse_req_t req, fuse_ino_t ino, int mask) {
        Node *n = ino >= INO_NODE ? node_by_ino(world, ino) : NULL;

        fuse_reply_err(req, n && refused(n, mask & R_OK, mask & W_OK) ? EACCES : 0);
        node_unref(n);
}

static size_t add_entry(fuse_req_t req, char *buf, size_t room, fuse_ino_t ino, unsigned number) {
        struct stat st;
        char name[8];

        snprintf(name, sizeof name, "%03u", number % 1000);
        if (fill(ino, &st) != 0)
                return 0;
        return fuse_add_direntry(req, buf, room, name, &st, (off_t) number);
}

static void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi UNUSED) {
        unsigned last = ino == INO_ROOT ? world->n_buses : DEVICES_PER_BUS;
        char *buf = alloc0(size);
        size_t used = 0;

        for (unsigned i = (unsigned) off + 1; i <= last; i++) {
                char name[8];

                snprintf(name, sizeof name, "%03u", i);
                fuse_ino_t entry = find(ino, name);
                size_t n = entry ? add_entry(req, buf + used, size - used, entry, i) : 0;
                if (n > size - used)
                        break;
                used += n;
        }
        fuse_reply_buf(req, buf, used);
        free(buf);
}

/* Opening a node wakes its device, or fails. */
static bool node_asleep(const Node *n) {
        return n->unit && n->unit->o.power == POWER_ASLEEP;
}

static void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
        Node *n = ino >= INO_NODE ? node_by_ino(world, ino) : NULL;
        int mode = fi->flags & O_ACCMODE;

        if (!n) {
                fuse_reply_err(req, ENODEV);
                return;
        }
        bool no = refused(n, mode != O_WRONLY, mode != O_RDONLY), asleep = !no && node_asleep(n);
        File *f = no || asleep ? NULL : file_open(n, mode != O_RDONLY);
        node_unref(n);
        if (!f) {
                fuse_reply_err(req, no ? EACCES : asleep ? EHOSTUNREACH : ENODEV);
                return;
        }
        fi->fh = (uintptr_t) f;
        fi->direct_io = 1;
        if (fuse_reply_open(req, fi) != 0)
                file_close(f); /* the open was interrupted: no release will come */
}

static File *file_of(const struct fuse_file_info *fi) {
        return (File *) (uintptr_t) fi->fh;
}

/* A descriptor was closed, perhaps the last one (a child's copy is closed here too). Only release is certain, and it
 * comes after close() has returned. */
static void set_closing(File *f, bool closing) {
        pthread_mutex_lock(f->node->lock);
        if (f->closing != closing) {
                f->closing = closing;
                if (closing)
                        atomic_fetch_add(&world->closing_files, 1);
                else
                        atomic_fetch_sub(&world->closing_files, 1);
        }
        pthread_mutex_unlock(f->node->lock);
}

static void fs_flush(fuse_req_t req, fuse_ino_t ino UNUSED, struct fuse_file_info *fi) {
        set_closing(file_of(fi), true);
        fuse_reply_err(req, 0);
}

static void fs_release(fuse_req_t req, fuse_ino_t ino UNUSED, struct fuse_file_info *fi) {
        File *f = file_of(fi);

        pthread_mutex_lock(f->node->lock);
        struct fuse_pollhandle *ph = f->poll_handle;
        f->poll_handle = NULL;
        pthread_mutex_unlock(f->node->lock);
        if (ph)
                fuse_pollhandle_destroy(ph);
        file_close(f);
        fuse_reply_err(req, 0);
}

static void fs_read(fuse_req_t req, fuse_ino_t ino UNUSED, size_t size, off_t off, struct fuse_file_info *fi) {
        const Node *n = file_of(fi)->node;
        size_t from = off < 0 ? 0 : MIN_OF((size_t) off, n->descriptors_size);

        pthread_mutex_lock(n->lock);
        bool gone = n->gone;
        pthread_mutex_unlock(n->lock);
        if (gone)
                fuse_reply_err(req, ENODEV);
        else
                fuse_reply_buf(req, (const char *) n->descriptors + from, MIN_OF(size, n->descriptors_size - from));
}

void poll_wake(void *poll_handle) {
        fuse_lowlevel_notify_poll(poll_handle);
        fuse_pollhandle_destroy(poll_handle);
}

static void fs_poll(fuse_req_t req, fuse_ino_t ino UNUSED, struct fuse_file_info *fi, struct fuse_pollhandle *ph) {
        File *f = file_of(fi);
        unsigned events = 0;

        pthread_mutex_lock(f->node->lock);
        if (ph) {
                if (f->poll_handle)
                        fuse_pollhandle_destroy(f->poll_handle);
                f->poll_handle = ph;
        }
        if (f->writable && !TAILQ_EMPTY(&f->done))
                events |= POLLOUT | POLLWRNORM;
        if (f->node->gone)
                events |= POLLHUP | POLLERR;
        pthread_mutex_unlock(f->node->lock);
        fuse_reply_poll(req, events);
}

static void fs_ioctl(fuse_req_t req, fuse_ino_t ino UNUSED, unsigned cmd, void *arg, struct fuse_file_info *fi,
                     unsigned flags, const void *in UNUSED, size_t in_size UNUSED, size_t out_size UNUSED) {
        File *f = file_of(fi);

        if (flags & (FUSE_IOCTL_COMPAT | FUSE_IOCTL_DIR)) {
                fuse_reply_err(req, ENOTTY);
                return;
        }
        if (atomic_load_explicit(&f->closing, memory_order_relaxed))
                set_closing(f, false);
        ioctl_serve(req, f, cmd, (uintptr_t) arg);
}

static const struct fuse_lowlevel_ops ops = {
        .lookup = fs_lookup,
        .getattr = fs_getattr,
        .access = fs_access,
        .readdir = fs_readdir,
        .open = fs_open,
        .flush = fs_flush,
        .release = fs_release,
        .read = fs_read,
        .poll = fs_poll,
        .ioctl = fs_ioctl,
};

static void *fs_thread(void *p) {
        struct fuse_session *se = p;
        struct fuse_buf buf = {};

        while (!fuse_session_exited(se)) {
                int r = fuse_session_receive_buf(se, &buf);

                if (r == -EINTR)
                        continue;
                if (r <= 0)
                        break;
                fuse_session_process_buf(se, &buf);
        }
        free(buf.mem);
        return NULL;
}

void fusefs_start(World *w, int fuse_fd) {
        char *argv[] = { (char *) "usbsim", NULL }, where[32];
        struct fuse_args args = FUSE_ARGS_INIT(1, argv);
        pthread_t t;

        world = w;
        struct fuse_session *se = fuse_session_new(&args, &ops, sizeof ops, NULL);
        format_to(where, sizeof where, "/dev/fd/%d", fuse_fd);
        if (!se || fuse_session_mount(se, where) != 0)
                quit(77, "libfuse cannot serve %s; libfuse 3.10 or newer is needed.", where);
        for (unsigned i = 0; i < THREADS; i++)
                if (pthread_create(&t, NULL, fs_thread, se) != 0)
                        quit(1, "No thread can be started.");
}
