/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* stuckfs MOUNTPOINT FILE: a file system with the files "read" and "flush", both with the content of FILE. To the daemon the first
 * never answers a read, the second never answers a close. Everyone else is served. It ends, and lets go, when it is killed. */

enum { INO_READ = 2, INO_FLUSH = 3 };

static int backing;
static struct stat backing_st;

static bool daemon_asks(fuse_req_t req) {
        char path[64], comm[32] = "";
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/comm", (int) fuse_req_ctx(req)->pid);
        f = fopen(path, "re");
        if (f) {
                (void) !fgets(comm, sizeof(comm), f);
                fclose(f);
        }
        return strncmp(comm, "fdld", 4) == 0;
}

static void fill(fuse_ino_t ino, struct stat *st) {
        *st = (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2};
        if (ino != FUSE_ROOT_ID) {
                st->st_mode = S_IFREG | 0444;
                st->st_nlink = 1;
                st->st_size = backing_st.st_size;
                st->st_blocks = backing_st.st_blocks;
        }
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
        struct fuse_entry_param e = {.attr_timeout = 3600, .entry_timeout = 3600};

        e.ino = strcmp(name, "read.pac") == 0 ? INO_READ : strcmp(name, "flush.pac") == 0 ? INO_FLUSH : 0;
        if (parent != FUSE_ROOT_ID || e.ino == 0) {
                fuse_reply_err(req, ENOENT);
                return;
        }
        fill(e.ino, &e.attr);
        fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
        struct stat st;

        (void) fi;
        fill(ino, &st);
        fuse_reply_attr(req, &st, 3600);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
        fi->direct_io = ino == INO_READ;
        fuse_reply_open(req, fi);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
        char *buffer;
        ssize_t n;

        (void) fi;
        if (ino == INO_READ && daemon_asks(req))
                return; /* never */
        buffer = malloc(size);
        n = buffer ? pread(backing, buffer, size, off) : -1;
        if (n < 0)
                fuse_reply_err(req, EIO);
        else
                fuse_reply_buf(req, buffer, (size_t) n);
        free(buffer);
}

static void on_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
        (void) fi;
        if (ino == INO_FLUSH && daemon_asks(req))
                return; /* never */
        fuse_reply_err(req, 0);
}

int main(int argc, char **argv) {
        static const struct fuse_lowlevel_ops ops = {
                .lookup = on_lookup, .getattr = on_getattr, .open = on_open, .read = on_read, .flush = on_flush,
        };
        char *arguments[] = {argv[0], (char *) "-oro,default_permissions", NULL};
        struct fuse_args args = FUSE_ARGS_INIT(2, arguments);
        struct fuse_session *session;

        if (argc != 3 || (backing = open(argv[2], O_RDONLY | O_CLOEXEC)) < 0 || fstat(backing, &backing_st) < 0) {
                fprintf(stderr, "usage: stuckfs MOUNTPOINT FILE\n");
                return 2;
        }
        session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
        if (!session || fuse_session_mount(session, argv[1]) != 0)
                return 1;
        fuse_session_loop(session);
        fuse_session_unmount(session);
        fuse_session_destroy(session);
        return 0;
}
