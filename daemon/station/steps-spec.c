/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <json-c/json.h>

#include "station/steps-internal.h"

/* What a spooled job is, as text beside its bytes: for the daemon that starts after a crash. It is our own file, and read as if it
 * were not. */

#define SPEC_VERSION 1

static void add_text(struct json_object *o, const char *key, const char *value) {
        json_object_object_add(o, key, json_object_new_string(value));
}

static void add_number(struct json_object *o, const char *key, uint64_t value) {
        json_object_object_add(o, key, json_object_new_uint64(value));
}

static struct json_object *loader_object(const StepLoader *l) {
        struct json_object *o = json_object_new_object();

        add_number(o, "address", l->address);
        add_number(o, "offset", l->offset);
        add_number(o, "size", l->size);
        add_text(o, "sha256", l->sha256);
        return o;
}

static struct json_object *step_object(const StepRequest *s) {
        struct json_object *o = json_object_new_object();

        add_text(o, "op", step_kind_to_string(s->kind));
        add_text(o, "partition", s->partition);
        add_number(o, "address", s->address);
        add_number(o, "length", s->length);
        add_number(o, "offset", s->offset);
        add_text(o, "file", s->file);
        add_number(o, "data", s->data_offset);
        add_number(o, "size", s->size);
        json_object_object_add(o, "any-image", json_object_new_boolean(s->any_image));
        json_object_object_add(o, "exact", json_object_new_boolean(s->exact));
        json_object_object_add(o, "optional", json_object_new_boolean(s->optional));
        return o;
}

char *steps_describe(const StepsInput *in, const SpoolFile *files, size_t n_files) {
        struct json_object *o = json_object_new_object(), *steps = json_object_new_array(), *list = json_object_new_array();
        char *text, choice[CHOICE_LINES_MAX];

        add_number(o, "version", SPEC_VERSION);
        add_text(o, "family", in->family);
        add_text(o, "unit", in->unit);
        add_number(o, "sparse", (uint64_t) in->options.sparse);
        json_object_object_add(o, "skip-equal", json_object_new_boolean(in->options.skip_equal));
        json_object_object_add(o, "repartition", json_object_new_boolean(in->options.repartition));
        choice_to_text(&in->options.choice, choice, sizeof(choice));
        add_text(o, "choice", choice);
        add_text(o, "loaders", in->loaders);
        add_text(o, "product", in->product);
        add_text(o, "storage", in->storage);
        json_object_object_add(o, "picked", json_object_new_boolean(in->picked));
        json_object_object_add(o, "second-enumeration", json_object_new_boolean(in->second_enumeration));
        add_number(o, "finish", (uint64_t) in->options.finish);
        add_text(o, "verify", verify_level_to_string(in->options.verify));
        json_object_object_add(o, "fdl1", loader_object(in->loader));
        json_object_object_add(o, "fdl2", loader_object(in->loader + 1));
        for (size_t i = 0; i < in->n_steps; i++)
                json_object_array_add(steps, step_object(in->steps + i));
        json_object_object_add(o, "steps", steps);
        for (size_t i = 0; i < n_files; i++) {
                struct json_object *f = json_object_new_object();
                add_text(f, "key", files[i].key);
                add_number(f, "offset", files[i].offset);
                add_number(f, "size", files[i].size);
                add_text(f, "sha256", files[i].sha256);
                json_object_array_add(list, f);
        }
        json_object_object_add(o, "files", list);
        text = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
        json_object_put(o);
        return text;
}

static struct json_object *member(struct json_object *o, const char *key, enum json_type type) {
        struct json_object *value = NULL;

        return json_object_object_get_ex(o, key, &value) && json_object_is_type(value, type) ? value : NULL;
}

static bool read_text(struct json_object *o, const char *key, char *ret, size_t size) {
        struct json_object *value = member(o, key, json_type_string);
        const char *text = value ? json_object_get_string(value) : NULL;

        if (!text || strlen(text) >= size)
                return false;
        memcpy(ret, text, strlen(text) + 1);
        return true;
}

static bool read_number(struct json_object *o, const char *key, uint64_t *ret) {
        struct json_object *value = member(o, key, json_type_int);

        if (value)
                *ret = json_object_get_uint64(value);
        return value != NULL;
}

static bool read_flag(struct json_object *o, const char *key) {
        struct json_object *value = member(o, key, json_type_boolean);

        return value && json_object_get_boolean(value);
}

static bool read_loader(struct json_object *o, const char *key, StepLoader *ret) {
        struct json_object *l = member(o, key, json_type_object);

        /* Files of older versions do not tell the hash. */
        if (l && !read_text(l, "sha256", ret->sha256, sizeof(ret->sha256)))
                ret->sha256[0] = '\0';
        return l && read_number(l, "address", &ret->address) && read_number(l, "offset", &ret->offset) && read_number(l, "size", &ret->size);
}

static bool read_step(struct json_object *o, StepRequest *ret) {
        char word[16];

        if (!json_object_is_type(o, json_type_object) || !read_text(o, "op", word, sizeof(word)))
                return false;
        ret->kind = step_kind_from_string(word);
        ret->any_image = read_flag(o, "any-image");
        ret->exact = read_flag(o, "exact");
        ret->optional = read_flag(o, "optional");
        return ret->kind != STEP_KIND_MAX && read_text(o, "partition", ret->partition, sizeof(ret->partition)) &&
               read_number(o, "address", &ret->address) && read_number(o, "length", &ret->length) &&
               read_number(o, "offset", &ret->offset) && read_text(o, "file", ret->file, sizeof(ret->file)) &&
               read_number(o, "data", &ret->data_offset) && read_number(o, "size", &ret->size);
}

static int read_steps(struct json_object *o, StepsInput *ret, StepRequest **ret_steps) {
        struct json_object *steps = member(o, "steps", json_type_array);
        size_t n = steps ? json_object_array_length(steps) : 0;
        _cleanup_free_ StepRequest *all = calloc(n + 1, sizeof(*all));

        if (!all)
                return -ENOMEM;
        if (!steps || n == 0 || n > STEPS_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < n; i++)
                if (!read_step(json_object_array_get_idx(steps, i), all + i))
                        return -EBADMSG;
        ret->n_steps = n;
        ret->steps = *ret_steps = TAKE_PTR(all);
        return 0;
}

int steps_parse(const char *text, StepsInput *ret, StepRequest **ret_steps) {
        struct json_object *o = json_tokener_parse(text);
        StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH}};
        uint64_t version = 0, finish = 0, sparse = 0;
        char verify[16] = "", choice[CHOICE_LINES_MAX];
        int r = -EBADMSG;

        if (json_object_is_type(o, json_type_object) && read_number(o, "version", &version) && version == SPEC_VERSION &&
            read_text(o, "family", in.family, sizeof(in.family)) && read_text(o, "unit", in.unit, sizeof(in.unit)) &&
            read_number(o, "finish", &finish) && finish <= FINISH_NOTHING &&
            read_text(o, "verify", verify, sizeof(verify)) &&
            read_loader(o, "fdl1", in.loader) && read_loader(o, "fdl2", in.loader + 1)) {
                in.second_enumeration = read_flag(o, "second-enumeration");
                in.picked = read_flag(o, "picked");
                in.options.skip_equal = read_flag(o, "skip-equal");
                in.options.repartition = in.options.table_only = read_flag(o, "repartition");
                if (read_number(o, "sparse", &sparse))
                        in.options.sparse = sparse == SPARSE_EXPAND ? SPARSE_EXPAND : sparse == SPARSE_AS_IS ? SPARSE_AS_IS : SPARSE_AUTO;
                /* Not in those of earlier versions. */
                if (read_text(o, "choice", choice, sizeof(choice)))
                        choice_from_text(&in.options.choice, choice);
                (void) (read_text(o, "loaders", in.loaders, sizeof(in.loaders)) && read_text(o, "product", in.product, sizeof(in.product)) &&
                        read_text(o, "storage", in.storage, sizeof(in.storage)));
                in.options.finish = finish == FINISH_RESET ? FINISH_RESET : finish == FINISH_POWER_OFF ? FINISH_POWER_OFF : FINISH_NOTHING;
                in.options.verify = verify_level_from_string(verify);
                r = (int) in.options.verify < 0 ? -EBADMSG : read_steps(o, &in, ret_steps);
                for (size_t i = 0; r == 0 && i < in.n_steps; i++)
                        in.options.repair = !in.options.repartition && (in.options.repair || in.steps[i].kind >= STEP_REPAIR);
        }
        json_object_put(o);
        if (r == 0)
                *ret = in;
        return r;
}
