/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus-fuzz.h"

#define COUNT(a) ((unsigned) (sizeof(a) / sizeof((a)[0])))
#define DEPTH_MAX 5

static uint64_t state;
static int budget_bytes, budget_fds;
static bool gentle;            /* this message might be a good one */
static const char *about = ""; /* the name of the argument or option */

/* splitmix64 */
static uint64_t next(void) {
        uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

void values_seed(uint64_t seed) {
        state = seed;
}

unsigned below(unsigned n) {
        return (unsigned) (next() % n);
}

/* ---- what is known ---- */

typedef struct Known {
        char *text;
        char type[16];
} Known;
typedef struct KnownList {
        unsigned n, max;
        Known known[1024];
} KnownList;
static KnownList words = {.max = 1024}, paths = {.max = 512}, keys = {.max = 256};
static unsigned n_hot;

static void learn(KnownList *l, const char *text, const char *type) {
        Known *k;

        for (unsigned i = 0; i < l->n; i++)
                if (strcmp(l->known[i].text, text) == 0) {
                        if (type[0])
                                snprintf(l->known[i].type, sizeof(l->known[i].type), "%s", type);
                        return;
                }
        /* The latest objects are the interesting ones: they take the place of another one. */
        k = l->known + (l->n < l->max ? l->n++ : l->max / 2 + below(l->max / 2));
        free(k->text);
        k->text = strdup(text);
        if (!k->text)
                abort();
        snprintf(k->type, sizeof(k->type), "%s", type);
}

void values_learn_word(const char *word) {
        if (word[0] && strlen(word) <= 128)
                learn(&words, word, "");
}

const char *values_path(void) {
        return paths.n ? paths.known[below(paths.n)].text : "/";
}

static char recent[16][300];
static unsigned n_recent;

void values_learn_path(const char *path) {
        if (strlen(path) > 256)
                return;
        learn(&paths, path, "");
        for (unsigned i = 0; i < COUNT(recent); i++)
                if (strcmp(recent[i], path) == 0)
                        return;
        snprintf(recent[n_recent++ % COUNT(recent)], sizeof(recent[0]), "%s", path);
}

static bool is_like(const char *path, const char *part) {
        const char *found = strcasestr(path, part);

        return found && strchr(found, '/');
}

const char *values_path_like(const char *part) {
        const char *found = NULL;
        unsigned seen = 0;

        for (unsigned i = 0; i < COUNT(recent) && one_in(2); i++)
                if (is_like(recent[i], part) && one_in(++seen))
                        found = recent[i];
        if (found)
                return found;
        for (unsigned i = 0; i < paths.n; i++)
                if (is_like(paths.known[i].text, part) && one_in(++seen))
                        found = paths.known[i].text;
        return found ? found : values_path();
}

/* ---- options: which a method has, and what each may be, as its error texts say ---- */

typedef struct Option {
        char key[33], type[16], values[12][40];
        unsigned n_values;
} Option;
typedef struct Options {
        char method[64];
        unsigned n;
        bool none; /* it takes no options */
        Option options[64];
} Options;
static Options all_options[64], *current;
static unsigned n_options;

void values_about(const char *method) {
        for (current = all_options; current < all_options + n_options; current++)
                if (strcmp(current->method, method) == 0)
                        return;
        if (n_options == COUNT(all_options))
                abort();
        n_options++;
        snprintf(current->method, sizeof(current->method), "%s", method);
}

static Option *option_get(const char *key, size_t n) {
        Option *o;

        for (o = current->options; o < current->options + current->n; o++)
                if (strlen(o->key) == n && strncmp(o->key, key, n) == 0)
                        return o;
        if (n == 0 || n >= sizeof(o->key) || current->n == COUNT(current->options))
                return NULL;
        current->n++;
        snprintf(o->key, sizeof(o->key), "%.*s", (int) n, key);
        return o;
}

static void add_value(Option *o, const char *text, size_t n) {
        if (n == 0 || n >= sizeof(o->values[0]) || o->n_values == COUNT(o->values))
                return;
        for (unsigned i = 0; i < o->n_values; i++)
                if (strlen(o->values[i]) == n && strncmp(o->values[i], text, n) == 0)
                        return;
        snprintf(o->values[o->n_values++], sizeof(o->values[0]), "%.*s", (int) n, text);
}

/* "Known here: a, b, c." and "Possible: a, b, c." */
static void learn_list(const char *text, Option *of) {
        for (;;) {
                size_t n = strcspn(text, ",. ");

                if (of)
                        add_value(of, text, n);
                else
                        (void) option_get(text, n);
                if (text[n] != ',' || text[n + 1] != ' ')
                        return;
                text += n + 2;
        }
}

void values_learn_from_error(const char *text) {
        const char *known = strstr(text, "Known here: "), *possible = strstr(text, "Possible: "), *needs = strstr(text, "but needs '");
        Option *o = NULL;

        if (strncmp(text, "Option '", 8) == 0)
                o = option_get(text + 8, strcspn(text + 8, "'"));
        if (strstr(text, "this call takes no options"))
                current->none = true;
        if (known)
                learn_list(known + 12, NULL);
        if (o && possible)
                learn_list(possible + 10, o);
        if (o && needs)
                snprintf(o->type, sizeof(o->type), "%.*s", (int) strcspn(needs + 11, "'"), needs + 11);
}

void values_learn_key(const char *key, const char *type) {
        learn(&keys, key, type);
}

void values_words_matter(void) {
        n_hot = words.n;
}

static const char *some_word(void) {
        return words.n == 0 ? "word" : words.known[below(n_hot && one_in(2) ? n_hot : words.n)].text;
}

void values_learn_message(sd_bus_message *m) {
        const char *contents, *text;
        char type;

        while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
                const char one[] = {type, '\0'};

                if (type == 's' || type == 'o') {
                        if (sd_bus_message_read_basic(m, type, &text) < 0)
                                return;
                        (type == 's' ? values_learn_word : values_learn_path)(text);
                } else if (strchr("avre", type)) {
                        if (sd_bus_message_enter_container(m, type, contents) < 0)
                                return;
                        values_learn_message(m);
                        if (sd_bus_message_exit_container(m) < 0)
                                return;
                } else if (sd_bus_message_skip(m, one) < 0)
                        return;
        }
}

/* ---- text ---- */

/* Without an end of its own each takes what is left of the buffer. */
static const char *const odd_strings[] = {
        "", " ", "/", ".", "..", "../../../../etc/passwd", "/dev/zero", "/proc/self/mem", "%s%s%s%n%n", "%08x.%p", "\n", "\r\n", "\t\t", "\033[31mred\033[0m",
        "\001\002\003\037\177", "\xc2\x80\xc2\x9f", "\342\200\256evil",
        "\xef\xbb\xbf", "\xf0\x9f\x92\xa9", "\xef\xbf\xbd", "\xcc\x81\xcc\x81\xcc\x81", "'", "\"", "\\", "`id`", "$(id)", "; DROP TABLE jobs;--",
        "' OR 1=1 --", "null", "NaN", "true", "-", "--", "-1", "0", "00", "+1", "1e309", "0x", "0xffffffffffffffff", "0x10000000000000000", "18446744073709551615",
        "18446744073709551616", "9223372036854775807", "-9223372036854775808", "4294967296", "2147483648", "99999999999999999999999999999999", ",", ",,", ",a", "a,",
        "=", "a=", "=a", "a=b=c", ":", "A:", "AB24:0001-0500", "A:0001-0000", "A:0-99999999999999999999", "0-0", "-", "1/0", "0/0", "2/4", "5/1", "100%", "-1%",
        "all", "ask", "yes", "no", "try", "{\"a\":[", "<node>", "<!ENTITY x SYSTEM \"file:///etc/passwd\">", "*", "?", "[", "a*b?c[d]", "_", "a_b", "a-b", "A.B", "a b",
        "org.fdld.Fdld1", "org.freedesktop.DBus", "/org/fdld/Fdld1", ":1.1", "\xc3\xa4\xc3\xb6\xc3\xbc", "0000000000000000000000000000000000000000000000000000000000000000",
        "00000000000000000000000000000000", "boot", "/sys/devices", "/sys/devices/../../etc", "pci-0000:00:14.0-usb-0:1", "chip:", "imei:", "chip:00",
};

/* At most `max` bytes of whole characters. */
static size_t random_characters(char *to, size_t max) {
        static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xe2\x80\x8f", "\xc2\x85"};
        size_t n = 0;

        while (n + 4 < max) {
                const char *c = characters[below(COUNT(characters))];

                if (one_in(8)) {
                        memcpy(to + n, c, strlen(c));
                        n += strlen(c);
                } else
                        to[n++] = (char) (one_in(10) ? 1 + below(31) : 32 + below(96));
        }
        return n;
}

static size_t long_text(char *to, size_t max) {
        char unit[64];
        size_t n = 0, length;

        if (one_in(2))
                length = (size_t) snprintf(unit, sizeof(unit), "%s", one_in(2) ? "A" : "../");
        else
                length = random_characters(unit, sizeof(unit));
        while (length > 0 && n + length < max) {
                memcpy(to + n, unit, length);
                n += length;
        }
        return n;
}

static size_t changed_word(char *to, size_t max) {
        const char *word = some_word();
        size_t n = (size_t) snprintf(to, max, "%s%s", word, one_in(2) ? "x" : "");

        if (n > 0 && one_in(2) && (unsigned char) to[n - 1] < 0x80)
                n--;
        return n;
}

static size_t list_of_words(char *to, size_t max) {
        size_t n = 0;

        for (unsigned i = 1 + below(one_in(8) ? 200 : 5); i > 0 && n + 160 < max; i--)
                n += (size_t) snprintf(to + n, max - n, "%s%s", some_word(), i > 1 ? one_in(10) ? ";" : "," : "");
        return n;
}

/* What words of the interface mean, so that some calls come far. */
static const char *meant_string(void) {
        static const char *const meant[][2] = {
                {"kind", "flash"}, {"kind", "verify"}, {"kind", "read"}, {"kind", "backup"}, {"kind", "write"}, {"kind", "erase"}, {"kind", "restore"}, {"kind", "steps"},
                {"kind", "identify"}, {"kind", "repair"}, {"kind", "repartition"}, {"how", "reset"}, {"how", "power-off"}, {"what", "start"}, {"format", "csv"},
                {"format", "jsonl"}, {"action", "serial-number"}, {"steps", "write"}, {"steps", "read"}, {"steps", "erase"}, {"steps", "table"}, {"steps", "repair"},
                {"files", "fdl1"}, {"files", "fdl2"}, {"files", "f"}, {"file", "f"}, {"partition", "boot_a"}, {"partition", "nv"}, {"partition", "pgpt"}, {"partition", "boot"},
                {"include", "FDL"}, {"include", "all"}, {"code", "write-refused-8a"}, {"code", "handshake-silent"}, {"count", "3"}, {"stop-after", "2/4"}, {"serial", "A1"},
                {"serials", "A1,A2"}, {"serials", "AB24:0001-0500"}, {"serials", "ask"}, {"checks", "ddr"}, {"checks", "bad-blocks=5"}, {"operator", "Ada"},
                {"id", "0123456789abcdef0123456789abcdef"}, {"unit", "chip:0011223344556677"}, {"port", "pci-0000:00:14.0-usb-0:7"}, {"order", "oldest"}, {"sha256", "e6f0a1fbb43c89196dcfcbef85908f19ab4c5f7cc4f4c452284697757683d7ef"} /* of vault */, {"state", "finished"},
        };
        const char *found = NULL;
        unsigned seen = 0;

        for (unsigned i = 0; i < COUNT(meant); i++)
                if (strcmp(meant[i][0], about) == 0 && one_in(++seen))
                        found = meant[i][1];
        return found;
}

static const char *make_string(void) {
        static char text[128 * 1024];
        size_t room = budget_bytes > 0 ? (size_t) budget_bytes : 16, n = 0;

        if (gentle && !one_in(8))
                return meant_string() ? meant_string() : some_word();
        room = room < sizeof(text) - 1 ? room : sizeof(text) - 1;
        switch (below(16)) {
        case 0 ... 6:
                return some_word();
        case 7 ... 10:
                return odd_strings[below(COUNT(odd_strings))];
        case 11:
                return values_path();
        case 12:
                n = random_characters(text, room < 200 ? room : below(200));
                break;
        case 13:
                n = list_of_words(text, room < 32768 ? room : 32768);
                break;
        case 14:
                n = changed_word(text, 256);
                break;
        default:
                n = long_text(text, one_in(3) ? room : below(room < 2000 ? (unsigned) room : 2000));
        }
        text[n] = '\0';
        return text;
}

int values_append_string(sd_bus_message *m) {
        const char *s = make_string();

        budget_bytes -= (int) strlen(s) + 8;
        return sd_bus_message_append_basic(m, 's', s);
}

static int append_path(sd_bus_message *m) {
        static char text[8192] = "/";
        static const char *const odd[] = {
                "/", "/a", "/org", "/org/fdld/Fdld1", "/org/fdld/Fdld1/jobs", "/org/fdld/Fdld1/jobs/_0", "/org/fdld/Fdld1/jobs/_1", "/org/fdld/Fdld1/jobs/_18446744073709551615",
                "/org/fdld/Fdld1/jobs/_18446744073709551616", "/org/fdld/Fdld1/jobs/_01", "/org/fdld/Fdld1/jobs/1", "/org/fdld/Fdld1/jobs/_1/a", "/org/fdld/Fdld1/devices/_99999",
                "/org/fdld/Fdld1/slots/_", "/org/fdld/Fdld1/slots/a", "/org/fdld/Fdld1/packages/00", "/org/fdld/Fdld1/profiles/_", "/org/fdld/Fdld1/batches/_0",
                "/org/freedesktop/LogControl1", "/_2f_2f", "/_zz",
        };

        budget_bytes -= 64;
        if (gentle && !one_in(8))
                return sd_bus_message_append_basic(m, 'o', strcmp(about, "target") != 0 ? values_path_like(about) : one_in(3) ? "/" : values_path_like(one_in(2) ? "device" : "slot"));
        if (!one_in(4))
                return sd_bus_message_append_basic(m, 'o', values_path());
        if (!one_in(6) || budget_bytes < (int) sizeof(text))
                return sd_bus_message_append_basic(m, 'o', odd[below(COUNT(odd))]);
        for (size_t i = 0; i + 1 < sizeof(text); i++)
                text[i] = i % 2 == 0 ? '/' : (char) ('a' + below(26));
        text[sizeof(text) - 1 - 2 * below(sizeof(text) / 2 - 1)] = '\0';
        if (text[strlen(text) - 1] == '/')
                text[strlen(text) - 1] = '\0';
        budget_bytes -= (int) strlen(text);
        return sd_bus_message_append_basic(m, 'o', text[0] ? text : "/");
}

/* ---- descriptors ---- */

static int files[32];
static unsigned n_files;
static struct pollfd read_ends[2]; /* of what is passed to be written into: a full one would be waited for */

void values_drain(void) {
        char bytes[65536];

        while (poll(read_ends, COUNT(read_ends), 0) > 0)
                for (unsigned i = 0; i < COUNT(read_ends); i++)
                        if ((read_ends[i].revents & POLLIN) && read(read_ends[i].fd, bytes, sizeof(bytes)) <= 0)
                                read_ends[i].fd = -1;
}

static void add_file(int fd) {
        if (fd < 0) {
                fprintf(stderr, "bus-fuzz: a file to pass: %s\n", strerror(errno));
                exit(1);
        }
        files[n_files++] = fd;
}

static int memory(const void *data, size_t size, unsigned seals) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0 || write(fd, data, size) != (ssize_t) size || lseek(fd, 0, SEEK_SET) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)
                return -1;
        return fd;
}

/* The first 1, 1/2 and all but one bytes of it, and some bytes changed. */
static void damaged_packages(const char *package) {
        static unsigned char data[8 * 1024 * 1024];
        int fd = open(package, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        add_file(fd);
        n = pread(fd, data, sizeof(data), 0);
        if (n < 4096)
                add_file(-1);
        add_file(memory(data, 1, 0));
        add_file(memory(data, (size_t) n / 2, 0));
        add_file(memory(data, (size_t) n - 1, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW));
        for (unsigned i = 0; i < 8; i++)
                data[below(4096)] ^= (unsigned char) (1U << below(8));
        add_file(memory(data, (size_t) n, F_SEAL_WRITE));
}

void values_open_files(const char *folder, const char *package) {
        static const char zeros[65536];
        char file[4096];
        int ends[2];

        add_file(open(package, O_RDONLY | O_CLOEXEC));
        damaged_packages(package);
        add_file(memory("", 0, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_WRITE));
        add_file(memory(zeros, sizeof(zeros), F_SEAL_SHRINK | F_SEAL_WRITE));
        add_file(memory("vault", 5, F_SEAL_SHRINK | F_SEAL_WRITE));
        snprintf(file, sizeof(file), "%s/fuzz-out", folder);
        add_file(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        add_file(open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        add_file(open(file, O_PATH | O_CLOEXEC));
        add_file(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        add_file(open("/dev/null", O_RDWR | O_CLOEXEC));
        add_file(open("/dev/zero", O_RDONLY | O_CLOEXEC));
        add_file(open("/dev/full", O_RDWR | O_CLOEXEC));
        add_file(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
        if (pipe2(ends, O_CLOEXEC) < 0)
                add_file(-1);
        read_ends[0] = (struct pollfd){.fd = ends[0], .events = POLLIN};
        add_file(ends[0]);
        add_file(ends[1]);
        if (pipe2(ends, O_CLOEXEC) < 0) /* broken */
                add_file(-1);
        close(ends[0]);
        add_file(ends[1]);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                add_file(-1);
        read_ends[1] = (struct pollfd){.fd = ends[1], .events = POLLIN};
        add_file(ends[0]);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                add_file(-1);
        close(ends[0]);
        add_file(ends[1]);
}

int values_package(void) {
        return files[0];
}

static int append_file(sd_bus_message *m) {
        if (budget_fds-- <= 0)
                return -ENOSPC;
        return sd_bus_message_append_basic(m, 'h', files + below(one_in(gentle ? 2 : 3) ? 2 : n_files));
}

/* ---- numbers and containers ---- */

static uint64_t number(void) {
        static const uint64_t odd[] = {
                0, 1, 2, 3, 16, 100, 101, 255, 256, 500, 1000, 1001, 4096, 65535, 65536, INT32_MAX, UINT64_C(0x80000000), UINT32_MAX, UINT64_C(0x100000000), INT64_MAX,
                UINT64_C(0x8000000000000000), UINT64_MAX - 1, UINT64_MAX, UINT64_C(1700000000000000),
        };

        if (gentle && !one_in(4))
                return strcmp(about, "size") == 0 ? 5 : below(64);
        return one_in(3) ? next() >> below(64) : odd[below(COUNT(odd))];
}

static int append_number(sd_bus_message *m, char type) {
        static const double doubles[] = {0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, (double) NAN, (double) INFINITY, (double) -INFINITY, 0.5};
        union {
                uint8_t y;
                uint16_t q;
                uint32_t u;
                uint64_t t;
                int b;
                double d;
        } v = {0};

        budget_bytes -= 8;
        if (type == 'd')
                v.d = doubles[below(COUNT(doubles))];
        else if (type == 'b')
                v.b = (int) below(2);
        else
                v.t = number();
        return sd_bus_message_append_basic(m, type, &v);
}

static const char *const any_types[] = {
        "", "s", "o", "g", "b", "y", "n", "q", "i", "u", "x", "t", "d", "h", "v", "as", "ao", "ay", "at", "ah", "av", "aas", "a(ii)", "(ss)", "(s(s(s)))", "a{sv}", "a{ss}",
        "a{sh}", "a{us}", "a{ta{sv}}", "aa{sv}", "a(sa{sv})", "(tsoosd)", "sa{sv}", "oa{sv}", "soa{sv}", "hsa{sv}", "ooa{sv}", "a{sv}tu", "ss", "ssv", "sss", "tt", "a{sh}a{sv}",
};

const char *values_types(void) {
        return any_types[below(COUNT(any_types))];
}

static const char *one_type(void) {
        return any_types[1 + below(32)]; /* up to a(sa{sv}): single complete types */
}

static int append_all(sd_bus_message *m, const char *types, unsigned depth);

static int append_variant(sd_bus_message *m, const char *type, unsigned depth) {
        int r;

        r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0)
                r = append_all(m, type, depth + 1);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_any_variant(sd_bus_message *m, unsigned depth) {
        unsigned nested = depth <= 2 && one_in(20) ? below(24) : 0;
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < nested; i++)
                r = sd_bus_message_open_container(m, 'v', "v");
        if (r >= 0)
                r = append_variant(m, depth >= DEPTH_MAX ? "s" : one_type(), depth);
        for (unsigned i = 0; r >= 0 && i < nested; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static unsigned how_many(bool options, unsigned depth) {
        if (budget_bytes < 0)
                return 0;
        if (gentle && options)
                return current && current->none ? 0 : below(4);
        if (gentle)
                return 1 + below(one_in(8) ? 20 : 3);
        if (depth <= 1 && one_in(40))
                return below(3000);
        return depth >= 3 ? below(3) : below(7);
}

static int append_known_option(sd_bus_message *m, const Option *o, unsigned depth) {
        const char *type = o->type;
        int r;

        about = o->key;
        r = sd_bus_message_append_basic(m, 's', o->key);
        for (unsigned i = 0; !type[0] && i < keys.n; i++)
                if (strcmp(keys.known[i].text, o->key) == 0)
                        type = keys.known[i].type;
        if (r < 0)
                return r;
        if (o->n_values && !one_in(4))
                return sd_bus_message_append(m, "v", "s", o->values[below(o->n_values)]);
        return type[0] && !one_in(gentle ? 40 : 6) ? append_variant(m, type, depth) : append_any_variant(m, depth);
}

static int append_other_option(sd_bus_message *m, unsigned depth) {
        const Known *k = keys.n && !one_in(4) ? keys.known + below(keys.n) : NULL;
        int r;

        r = k ? sd_bus_message_append_basic(m, 's', k->text) : values_append_string(m);
        if (r < 0)
                return r;
        return k && !one_in(5) ? append_variant(m, k->type, depth) : append_any_variant(m, depth);
}

static int append_option(sd_bus_message *m, bool known, unsigned which, unsigned depth) {
        int r;

        budget_bytes -= 32;
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = known ? append_known_option(m, current->options + which % current->n, depth) : append_other_option(m, depth);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_array(sd_bus_message *m, const char *element, unsigned depth) {
        bool options = strcmp(element, "{sv}") == 0;
        unsigned n = how_many(options, depth), first = below(64);
        bool known = current && current->n && (gentle || !one_in(5)); /* one that is not known is where the reading ends */
        int r;

        r = sd_bus_message_open_container(m, 'a', element);
        for (unsigned i = 0; r >= 0 && i < n && budget_bytes > 0; i++) {
                if (options)
                        r = append_option(m, known && !one_in(gentle ? 100 : 20), first + (gentle ? i : below(64)), depth);
                else if (strchr(element, 'h') && budget_fds <= 0)
                        break;
                else
                        r = append_all(m, element, depth + 1);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* How long the first complete type is. */
static size_t type_length(const char *types) {
        size_t n = 0;
        int open = 0;

        while (types[n] == 'a')
                n++;
        do {
                if (types[n] == '(' || types[n] == '{')
                        open++;
                else if (types[n] == ')' || types[n] == '}')
                        open--;
                n++;
        } while (open > 0 && types[n]);
        return n;
}

static int append_one(sd_bus_message *m, const char *type, unsigned depth) {
        char inner[256];
        int r;

        switch (type[0]) {
        case 's':
                return values_append_string(m);
        case 'o':
                return append_path(m);
        case 'g':
                return sd_bus_message_append_basic(m, 'g', values_types());
        case 'h':
                return append_file(m);
        case 'v':
                return append_any_variant(m, depth);
        case 'a':
                return append_array(m, type + 1, depth);
        case '(':
        case '{':
                snprintf(inner, sizeof(inner), "%.*s", (int) strlen(type) - 2, type + 1);
                r = sd_bus_message_open_container(m, type[0] == '(' ? 'r' : 'e', inner);
                if (r >= 0)
                        r = append_all(m, inner, depth + 1);
                return r < 0 ? r : sd_bus_message_close_container(m);
        default:
                return append_number(m, type[0]);
        }
}

static int append_all(sd_bus_message *m, const char *types, unsigned depth) {
        int r = 0;

        while (types[0] && r >= 0) {
                char type[256];
                size_t n = type_length(types);

                snprintf(type, sizeof(type), "%.*s", (int) n, types);
                r = append_one(m, type, depth);
                types += n;
        }
        return r;
}

void values_begin_message(void) {
        budget_bytes = one_in(10) ? 300 * 1024 : 8 * 1024;
        budget_fds = 12;
        gentle = one_in(2);
}

int values_append(sd_bus_message *m, const char *types, const char *name) {
        about = name;
        return append_all(m, types, 0);
}
