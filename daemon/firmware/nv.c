/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/nv.h"

#include <strings.h>

#include "common/hex.h"
#include "firmware/crc16.h"

#define ITEM_CALIBRATION 0x2
#define ITEM_IMEI 0x5
#define ITEM_WCDMA_CALIBRATION 0x12d
#define ITEM_TD_CALIBRATION 0x516
#define ITEM_LTE_CALIBRATION 0x9c4
#define ITEM_END 0xffff

#define VERSION_FIRST 0xff0a
#define VERSION_LAST 0xff0c
#define SIZE_FF0A 6020

/* How numbers lie in an image. Modules and smartphones: little. Old feature phones: big. An image whose bytes come
 * swapped in each word looks like one of the other order: only the comparison with the package's image tells. */
typedef enum Order { ORDER_LITTLE, ORDER_BIG, ORDER_NONE } Order;

typedef struct Image {
        const uint8_t *data;
        size_t size;
        Order order;
        bool swapped; /* the data of the items, too, have to be swapped back */
} Image;

static uint16_t word_at(const Image *i, size_t at) {
        return i->order == ORDER_BIG ? get_be16(i->data + at) : get_le16(i->data + at);
}

/* Walks to the item; false if it is not there. *ret_sound says whether the walk met the end mark. With id ITEM_END it
 * only checks the structure. */
static bool find(const Image *image, uint16_t id, size_t *ret_offset, size_t *ret_length, bool *ret_sound) {
        size_t size = image->size;
        bool found = false;

        *ret_sound = false;
        for (size_t at = 4; at + 2 <= size;) {
                uint16_t here = word_at(image, at);
                size_t length;

                if (here == ITEM_END) {
                        *ret_sound = true;
                        break;
                }
                if (at + 4 > size)
                        break;
                length = word_at(image, at + 2);
                if (length > size - at - 4)
                        break;
                if (here == id && !found) {
                        *ret_offset = at + 4;
                        *ret_length = length;
                        found = true;
                }
                at += 4 + ((length + 3) & ~(size_t) 3);
        }
        return found;
}

static uint16_t calibration_version(const Image *image) {
        size_t at, length;
        bool sound;

        return find(image, ITEM_CALIBRATION, &at, &length, &sound) && length >= 2 ? word_at(image, at) : 0;
}

/* NULL or what is wrong. */
static const char *structure_fault(const Image *image) {
        size_t at, length;
        bool sound;

        if (!find(image, ITEM_IMEI, &at, &length, &sound))
                return sound ? "it holds no IMEI item (5)" : "the items do not lead to the end mark";
        if (!sound)
                return "the items do not lead to the end mark";
        if (length != 8)
                return "its IMEI item (5) does not have 8 bytes";
        if (!find(image, ITEM_CALIBRATION, &at, &length, &sound) || length < 2)
                return "it holds no calibration item (2)";
        if (word_at(image, at) < VERSION_FIRST || word_at(image, at) > VERSION_LAST)
                return "its calibration item (2) has an unknown version";
        return NULL;
}

static const char *open_image(Image *image, const void *data, size_t size) {
        const char *first = NULL;

        for (Order order = ORDER_LITTLE; order < ORDER_NONE; order++) {
                const char *fault;

                *image = (Image){.data = data, .size = size, .order = order};
                fault = structure_fault(image);
                if (!fault)
                        return NULL;
                first = first ? first : fault;
        }
        image->order = ORDER_NONE;
        return first;
}

bool nv_length(const void *data, size_t size, size_t *ret) {
        const uint8_t *p = data;
        Image i;
        size_t end = 4, all = size;

        if (open_image(&i, data, size))
                return false;
        while (word_at(&i, end) != ITEM_END)
                end += 4 + ((word_at(&i, end + 2) + 3u) & ~(size_t) 3);
        while (size > end + 2 && (p[size - 1] == 0 || p[size - 1] == 0xff))
                size--;
        *ret = MIN((size + 3) & ~(size_t) 3, all);
        return true;
}

bool nv_blank(const void *image, size_t size) {
        const uint8_t *p = image;

        if (size == 0)
                return true;
        return (p[0] == 0 || p[0] == 0xff) && (size == 1 || memcmp(p, p + 1, size - 1) == 0);
}

static int crashed(const char *whose, const char *fault, Failure *f) {
        return failure_set(f, CLASS_MISMATCH, "nv", "The NV data in %s are crashed: %s.", whose, fault);
}

int nv_check(const void *image, size_t size, const char *whose, Failure *f) {
        Image i;
        const char *fault;

        if (nv_blank(image, size))
                return crashed(whose, "they are blank", f);
        fault = open_image(&i, image, size);
        return fault ? crashed(whose, fault, f) : 0;
}

bool nv_find(const void *image, size_t size, uint16_t id, size_t *ret_offset, size_t *ret_length) {
        Image i;
        bool sound;

        if (open_image(&i, image, size))
                i = (Image){.data = image, .size = size, .order = ORDER_LITTLE};
        return find(&i, id, ret_offset, ret_length, &sound);
}

bool nv_unit(const void *data, size_t size, char ret[static 24]) {
        uint8_t imei[8];
        size_t at, length;
        bool sound, digits;
        Image i;

        if (open_image(&i, data, size) || !find(&i, ITEM_IMEI, &at, &length, &sound))
                return false;
        memcpy(imei, i.data + at, sizeof(imei));
        if (nv_blank(imei, sizeof(imei)))
                return false;
        memcpy(ret, "imei:", 6);
        digits = (imei[0] & 0xf) == 0xa;
        for (size_t n = 1; n < 16; n++) {
                unsigned digit = n % 2 ? imei[n / 2] >> 4 : imei[n / 2] & 0xf;
                digits = digits && digit <= 9;
                ret[4 + n] = (char) ('0' + digit);
        }
        ret[20] = '\0';
        if (!digits) {
                memcpy(ret, "nv:", 4);
                bytes_to_hex(imei, sizeof(imei), ret + 3);
        }
        return true;
}

/* ---- merge ---------------------------------------------------------------------------------------------- */

typedef struct Merge {
        uint8_t *out; /* copy of the package's image, becomes the result */
        Image package, device;
        Failure *f;
        FlashMode mode;
} Merge;

typedef enum Need { NEED_BOTH, NEED_PACKAGE, NEED_NONE } Need;

static void copy_item(Merge *m, size_t to, size_t from, size_t length) {
        for (size_t i = 0; i < length; i++) {
                size_t other = (from + i) ^ 1;
                m->out[to + i] = m->device.data[m->device.swapped && other < m->device.size ? other : from + i];
        }
}

/* NEED_PACKAGE: an item that the device lacks is left as the package has it. NEED_NONE: so is one that the package
 * lacks. */
static int merge_id(Merge *m, const char *name, uint16_t id, Need need) {
        size_t to, from, to_length, from_length;
        bool sound;

        if (!find(&m->package, id, &to, &to_length, &sound)) {
                if (need == NEED_NONE)
                        return 0;
                return failure_set(
                        m->f, CLASS_MISMATCH, "nv-file-id",
                        "The NV item %.40s (0x%x) that is to be kept does not exist in the new image of the package.",
                        name, id);
        }
        if (!find(&m->device, id, &from, &from_length, &sound)) {
                if (need != NEED_BOTH)
                        return 0;
                return failure_set(m->f, CLASS_MISMATCH, "nv-device-id",
                                   "The NV item %.40s (0x%x) that is to be kept does not exist in the device.", name,
                                   id);
        }
        if (to_length != from_length)
                return failure_set(m->f, CLASS_MISMATCH, "nv-length",
                                   "The NV item %.40s (0x%x) has %zu bytes in the device but %zu in the package: its "
                                   "structure changed.",
                                   name, id, from_length, to_length);
        copy_item(m, to, from, to_length);
        return 0;
}

#define version_refused(m, ...) failure_set((m)->f, CLASS_MISMATCH, "nv-version", __VA_ARGS__)

static int check_calibration_versions(Merge *m) {
        unsigned device = calibration_version(&m->device), package = calibration_version(&m->package);
        size_t at, length;
        bool sound;

        if (device < VERSION_FIRST || device > VERSION_LAST)
                return version_refused(m, "The calibration in the device has the unknown version 0x%x.", device);
        if (package < VERSION_FIRST || package > VERSION_LAST)
                return version_refused(m, "The calibration in the package has the unknown version 0x%x.", package);
        if (device < package)
                return version_refused(
                        m, "The calibration in the device has the older structure 0x%x, the package needs 0x%x.",
                        device, package);
        if (device != package)
                return version_refused(
                        m, "The calibration versions do not match: 0x%x in the device, 0x%x in the package.", device,
                        package);
        if (device == VERSION_FIRST && find(&m->device, ITEM_CALIBRATION, &at, &length, &sound) && length != SIZE_FF0A)
                return version_refused(
                        m, "The calibration in the device has %u bytes, which does not match its structure (%u).",
                        (unsigned) length, SIZE_FF0A);
        return 0;
}

static int merge_imei(Merge *m, Need need) {
        static const uint16_t more[] = {0x179, 0x186, 0x1e4};
        int r = merge_id(m, "IMEI", ITEM_IMEI, need);

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(more); i++)
                r = merge_id(m, "IMEI", more[i], NEED_NONE);
        return r;
}

/* Items that are known by their name where the list gives no id. 0: the name is not one of them. */
static uint16_t id_by_name(const char *name) {
        static const struct {
                const char *name;
                uint16_t id;
        } names[] = {{"TD_Calibration", ITEM_TD_CALIBRATION},
                     {"LTE_Calibration", ITEM_LTE_CALIBRATION},
                     {"BlueTooth", 0x191},
                     {"WIFI", 0x199},
                     {"BandSelect", 0xd},
                     {"MMITest", 0x19a}};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strncmp(name, names[i].name, strlen(names[i].name)) == 0)
                        return names[i].id;
        return 0;
}

/* 0: unknown. */
static uint16_t listed_id(const PacNvItem *item) {
        return item->id != UINT32_MAX ? (uint16_t) item->id : id_by_name(item->name);
}

static int merge_item(Merge *m, const PacNvItem *item) {
        bool go_on = (item->use && item->keep_going) ||
                     (m->mode == FLASH_MODE_UPGRADE && strncmp(item->name, "MMITest", 7) == 0);
        Need need = go_on ? NEED_PACKAGE : NEED_BOTH;
        uint16_t id = listed_id(item);

        if (strncmp(item->name, "Calibration", 11) == 0) {
                int r;

                id = item->id != UINT32_MAX ? id : ITEM_CALIBRATION;
                r = id == ITEM_CALIBRATION ? check_calibration_versions(m) : 0;
                return r != 0 ? r : merge_id(m, item->name, id, need);
        }
        if (item->id == UINT32_MAX && streq(item->name, "IMEI"))
                return merge_imei(m, need);
        return id == 0 && item->id == UINT32_MAX ? 0 : merge_id(m, item->name, id, need);
}

int nv_merge(void *image, size_t size, const void *device, size_t device_size, const PacNvItem *items, size_t n_items,
             FlashMode mode, Failure *f) {
        Merge m = {.f = f, .mode = mode};
        int r = nv_check(device, device_size, "the device", f);

        if (r == 0)
                r = nv_check(image, size, "the package", f);
        if (r != 0)
                return r;
        open_image(&m.device, device, device_size);
        open_image(&m.package, image, size);
        m.device.swapped = m.device.order != m.package.order;
        m.out = malloc(size);
        if (!m.out)
                return -ENOMEM;
        memcpy(m.out, image, size);
        for (size_t i = 0; r == 0 && i < n_items; i++)
                if (items[i].backup)
                        r = merge_item(&m, items + i);
        if (r == 0)
                memcpy(image, m.out, size);
        free(m.out);
        return r;
}

/* ---- calibrated? ---------------------------------------------------------------------------------------- */

/* The flag is the last word of the item. */
static bool find_gsm_flag(const Image *image, size_t *ret) {
        size_t at, length;
        bool sound;

        if (!find(image, ITEM_CALIBRATION, &at, &length, &sound) || length < 6 || length % 4 ||
            (word_at(image, at) == VERSION_FIRST && length != SIZE_FF0A))
                return false;
        *ret = at + length - 4;
        return true;
}

/* Bit 27 says nothing. */
static int check_gsm(const Image *image, Failure *f) {
        uint32_t flag;
        size_t at;

        if (!find_gsm_flag(image, &at))
                return 0; /* the merge says what is wrong with it */
        flag = image->order == ORDER_BIG ? (uint32_t) word_at(image, at) << 16 | word_at(image, at + 2)
                                         : (uint32_t) word_at(image, at + 2) << 16 | word_at(image, at);
        if (flag & 0xf7ffffff)
                return 0;
        return failure_set(f, CLASS_MISMATCH, "nv-uncalibrated",
                           "The device was never calibrated: its calibration flag is 0x%x.", flag);
}

static int check_short_flag(const Image *image, const char *family, uint16_t id, Failure *f) {
        size_t at, length;
        bool sound;

        if (!find(image, id, &at, &length, &sound) || length < 4)
                return failure_set(f, CLASS_MISMATCH, "nv-uncalibrated",
                                   "The device was never calibrated for %s: it has no item 0x%x.", family, id);
        if (word_at(image, at + 2) != 0)
                return 0;
        return failure_set(f, CLASS_MISMATCH, "nv-uncalibrated",
                           "The device was never calibrated for %s: the flag in its item 0x%x is 0.", family, id);
}

static bool names_family(const char *families, const char *name) {
        static const char between[] = " ,;|\t";

        for (const char *p = families + strspn(families, between); *p; p += strspn(p, between)) {
                size_t n = strcspn(p, between);

                if (n == strlen(name) && strncasecmp(p, name, n) == 0)
                        return true;
                p += n;
        }
        return false;
}

static const struct {
        const char *family, *item;
        uint16_t id; /* where the list gives none; 0: the flag is GSM's */
} gates[] = {
        {"TD", "TD_Calibration", 0},
        {"WCDMA", "W_Calibration", ITEM_WCDMA_CALIBRATION},
        {"LTE", "LTE_Calibration", ITEM_LTE_CALIBRATION},
};

int nv_check_calibrated(const void *device, size_t size, const char *families, const PacNvItem *items, size_t n_items,
                        Failure *f) {
        Image image;
        int r = 0;

        if (open_image(&image, device, size))
                return nv_check(device, size, "the device", f);
        if (!families[0] || names_family(families, "GSM"))
                r = check_gsm(&image, f);
        for (size_t k = 0; r == 0 && k < ELEMENTSOF(gates); k++) {
                if (!names_family(families, gates[k].family))
                        continue;
                for (size_t i = 0; r == 0 && i < n_items; i++) {
                        if (!items[i].backup || strncasecmp(items[i].name, gates[k].item, strlen(gates[k].item)) != 0)
                                continue;
                        r = gates[k].id == 0 ? check_gsm(&image, f)
                                             : check_short_flag(&image, gates[k].family,
                                                                items[i].id == UINT32_MAX ? gates[k].id : (uint16_t) items[i].id, f);
                }
        }
        return r;
}

void nv_clear_calibrated(void *image, size_t size) {
        Image i;
        size_t at;

        if (!open_image(&i, image, size) && find_gsm_flag(&i, &at))
                memset((uint8_t *) image + at, 0, 4);
}

uint32_t nv_seal(void *image, size_t size) {
        uint8_t *p = image;
        uint32_t sum = 0;

        if (size < 2)
                return 0;
        put_be16(p, crc16_arc(0, p + 2, size - 2));
        for (size_t i = 0; i < size; i++)
                sum += p[i];
        return sum;
}

/* ---- comparison ----------------------------------------------------------------------------------------- */

typedef struct Item {
        uint16_t id, length;
        const uint8_t *data;
} Item;

static int item_order(const void *a, const void *b) {
        const Item *x = a, *y = b;

        if (x->id != y->id)
                return x->id < y->id ? -1 : 1;
        if (x->length != y->length)
                return x->length < y->length ? -1 : 1;
        return memcmp(x->data, y->data, x->length);
}

/* Sorted, so that neither order nor number of items matters: an id may stand more than once. The image was opened, so the end mark is
 * there. NULL: no memory. */
static Item *list_items(const Image *image, size_t *ret_n) {
        Item *items;
        size_t n = 0, at;

        for (at = 4; word_at(image, at) != ITEM_END; n++)
                at += 4 + ((word_at(image, at + 2) + 3u) & ~(size_t) 3);
        items = calloc(n + 1, sizeof(*items));
        if (!items)
                return NULL;
        *ret_n = n;
        at = 4;
        for (size_t i = 0; i < n; i++) {
                items[i] = (Item) {word_at(image, at), word_at(image, at + 2), image->data + at + 4};
                at += 4 + ((items[i].length + 3u) & ~(size_t) 3);
        }
        qsort(items, n, sizeof(*items), item_order);
        return items;
}

static bool is_own(uint16_t id, const PacNvItem *items, size_t n_items) {
        static const uint16_t own[] = {ITEM_CALIBRATION, ITEM_IMEI, 0x179, 0x186, 0x1e4, 0x26d, 0x26e};

        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                if (own[i] == id)
                        return true;
        for (size_t i = 0; i < n_items; i++)
                if (items[i].backup && listed_id(items + i) == id)
                        return true;
        return false;
}

int nv_compare(const void *image, size_t size, const void *back, size_t back_size, const PacNvItem *kept, size_t n_kept,
               NvDifference *ret) {
        _cleanup_free_ Item *a = NULL, *b = NULL;
        size_t n_a, n_b, at_b = 0;
        Image ours, theirs;

        *ret = (NvDifference) {0};
        if (open_image(&ours, image, size) || open_image(&theirs, back, back_size) || ours.order != theirs.order)
                return -EBADMSG;
        a = list_items(&ours, &n_a);
        b = list_items(&theirs, &n_b);
        if (!a || !b)
                return -ENOMEM;
        for (size_t i = 0; i < n_a; i++) {
                while (at_b < n_b && item_order(b + at_b, a + i) < 0)
                        at_b++;
                if (at_b < n_b && item_order(b + at_b, a + i) == 0)
                        continue;
                if (ret->n++ == 0)
                        ret->first = a[i].id;
                if (is_own(a[i].id, kept, n_kept) && ret->n_own++ == 0)
                        ret->first_own = a[i].id;
        }
        return 0;
}
