/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

/* buspest: a client that behaves badly in ways that fdlctl cannot.
 *      buspest files FILE        passes FILE where none is expected, in every form
 *      buspest kinds FOLDER      passes descriptors of every wrong kind to ImportPackage
 *      buspest draft PACKAGE     makes a draft, says so, and stays
 *      buspest hoard PACKAGE     makes drafts and attaches files until both are refused, says so, and stays
 *      buspest deaf              asks for every signal, says so, and never reads one
 *      buspest json              needs no bus: is what comes in one JSON value?
 * Prints one line for each answer. */

#define NAME "org.fdld.Fdld1"
#define ROOT "/org/fdld/Fdld1"
#define MANAGER NAME ".Manager"

static sd_bus *bus;

static void die(const char *what, int r) {
        fprintf(stderr, "buspest: %s: %s\n", what, strerror(-r));
        exit(1);
}

static void ask(const char *label, sd_bus_message *m) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = sd_bus_call(bus, m, 5000000, &error, NULL);

        printf("%s: %s %s\n", label, r < 0 ? (error.name ? error.name : strerror(-r)) : "ok", error.message ? error.message : "");
        fflush(stdout);
        sd_bus_error_free(&error);
        sd_bus_message_unref(m);
}

static sd_bus_message *new_call_to(const char *path, const char *interface, const char *member) {
        sd_bus_message *m = NULL;
        int r = sd_bus_message_new_method_call(bus, &m, NAME, path, interface, member);

        if (r < 0)
                die("message", r);
        return m;
}

static sd_bus_message *new_call(const char *interface, const char *member) {
        return new_call_to(ROOT, interface, member);
}

static void append(sd_bus_message *m, const char *types, ...) {
        va_list ap;
        int r;

        va_start(ap, types);
        r = sd_bus_message_appendv(m, types, ap);
        va_end(ap);
        if (r < 0)
                die("append", r);
}

static void only_file(const char *interface, const char *member, int fd) {
        sd_bus_message *m = new_call(interface, member);

        append(m, "h", fd);
        ask(member, m);
}

static void files(const char *path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        sd_bus_message *m;

        if (fd < 0)
                die(path, -1);
        only_file(MANAGER, "ImportPackage", fd);
        only_file(MANAGER, "GetJob", fd);
        only_file(MANAGER, "NoSuchMethod", fd);
        only_file("org.freedesktop.DBus.Peer", "Ping", fd);
        only_file("org.freedesktop.DBus.Properties", "Get", fd);
        m = new_call(MANAGER, "ImportPackage");
        append(m, "hsa{sv}", fd, "", 0);
        ask("empty name", m);
        m = new_call(MANAGER, "ImportPackage");
        append(m, "hsa{sv}", fd, "evil \xe2\x80\xae.pac", 0);
        ask("bidi name", m);
        m = new_call(MANAGER, "ImportPackage");
        append(m, "hsa{sv}", fd, "x", 1, "file", "h", fd);
        ask("file as option", m);
        m = new_call(MANAGER, "ListJobs");
        append(m, "a{sv}", 2, "file", "h", fd, "nested", "v", "(hah)", fd, 2, fd, fd);
        ask("files nested", m);
        m = new_call_to(ROOT "/jobs/none", NAME ".Job", "AttachFiles");
        append(m, "a{sh}a{sv}", 1, "boot", fd, 0);
        ask("files for no job", m);
        m = new_call_to(ROOT "/none", MANAGER, "ImportPackage");
        append(m, "hsa{sv}", fd, "x.pac", 0);
        ask("file for no object", m);
}

static void kind(const char *label, int fd) {
        sd_bus_message *m = new_call(MANAGER, "ImportPackage");

        if (fd < 0)
                die(label, -1);
        append(m, "hsa{sv}", fd, "x.pac", 0);
        ask(label, m);
        close(fd);
}

static void seventeen(void) {
        sd_bus_message *m = new_call(MANAGER, "ImportPackage");

        for (int i = 0; i < 17; i++)
                append(m, "h", STDIN_FILENO);
        ask("17 files", m);
}

static void kinds(const char *folder) {
        char file[4096];
        int pipes[2], sockets[2];

        snprintf(file, sizeof(file), "%s/written.pac", folder);
        if (pipe2(pipes, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
                die("pipe", -1);
        kind("pipe", pipes[0]);
        kind("socket", sockets[0]);
        kind("directory", open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        kind("write-only", open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        kind("path", open(file, O_PATH | O_CLOEXEC));
        kind("empty", open(file, O_RDONLY | O_CLOEXEC));
        kind("device", open("/dev/zero", O_RDONLY | O_CLOEXEC));
        kind("memory", memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        unlink(file);
        seventeen();
        only_file("org.freedesktop.DBus.Peer", "Ping", STDIN_FILENO); /* the connection lives */
}

static void draft(const char *package) {
        sd_bus_message *m = new_call(MANAGER, "CreateJob"), *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *path;
        int r;

        append(m, "soa{sv}", "flash", "/", 1, "package", "o", package);
        r = sd_bus_call(bus, m, 0, &error, &reply);
        if (r < 0)
                die(error.message ? error.message : "CreateJob", r);
        if (sd_bus_message_read(reply, "to", NULL, &path) < 0)
                die("reply", -1);
        printf("%s\n", path);
        fflush(stdout);
        pause();
}

/* One more file for a job, again and again the same one. */
static int attach(const char *job, unsigned n, sd_bus_error *error) {
        sd_bus_message *m = new_call_to(job, NAME ".Job", "AttachFiles");
        char key[16];
        int r;

        snprintf(key, sizeof(key), "f%u", n);
        append(m, "a{sh}a{sv}", 1, key, STDERR_FILENO, 0);
        r = sd_bus_call(bus, m, 0, error, NULL);
        sd_bus_message_unref(m);
        return r;
}

static void hoard(const char *package) {
        enum { FAR = 2000, FILES = 40000 };
        static char paths[FAR][128];
        sd_bus_error error = SD_BUS_ERROR_NULL;
        unsigned n = 0, files = 0;

        for (; n < FAR; n++) {
                sd_bus_message *m = new_call(MANAGER, "CreateJob"), *reply = NULL;
                const char *path;

                append(m, "soa{sv}", "read", "/", 1, "package", "o", package);
                if (sd_bus_call(bus, m, 0, &error, &reply) < 0 || sd_bus_message_read(reply, "to", NULL, &path) < 0)
                        break;
                snprintf(paths[n], sizeof(paths[n]), "%s", path);
                sd_bus_message_unref(m);
                sd_bus_message_unref(reply);
        }
        printf("%u drafts: %s %s\n", n, error.name, error.message);
        sd_bus_error_free(&error);
        while (n > 0 && files < FILES && attach(paths[files % n], files / n, &error) >= 0)
                files++;
        printf("%u files: %s %s\n", files, error.name, error.message);
        fflush(stdout);
        pause();
}

static void deaf(void) {
        int r = sd_bus_add_match(bus, NULL, "type='signal',sender='" NAME "'", NULL, NULL);

        if (r < 0)
                die("match", r);
        printf("deaf\n");
        fflush(stdout);
        pause();
}

static int json(void) {
        static char text[4 * 1024 * 1024];
        struct json_tokener *t = json_tokener_new();
        size_t n = fread(text, 1, sizeof(text), stdin);
        struct json_object *o;
        int r;

        json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(t, text, (int) n);
        r = o && strspn(text + json_tokener_get_parse_end(t), " \n") == n - json_tokener_get_parse_end(t) ? 0 : 1;
        if (r)
                fprintf(stderr, "buspest: %s\n", json_tokener_error_desc(json_tokener_get_error(t)));
        json_object_put(o);
        json_tokener_free(t);
        return r;
}

int main(int argc, char **argv) {
        int r;

        if (argc == 2 && strcmp(argv[1], "json") == 0)
                return json();
        r = sd_bus_open_system(&bus);

        if (r < 0)
                die("bus", r);
        if (argc == 3 && strcmp(argv[1], "files") == 0)
                files(argv[2]);
        else if (argc == 3 && strcmp(argv[1], "kinds") == 0)
                kinds(argv[2]);
        else if (argc == 3 && strcmp(argv[1], "draft") == 0)
                draft(argv[2]);
        else if (argc == 3 && strcmp(argv[1], "hoard") == 0)
                hoard(argv[2]);
        else if (argc == 2 && strcmp(argv[1], "deaf") == 0)
                deaf();
        else
                return 2;
        return 0;
}
