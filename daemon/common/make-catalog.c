/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints the catalogue of the journal, from the tables; with a failure code, the id that entries of that code bear. Run while building. */
#include "common/message-id.h"

static void put_list(const char *title, const char *const *list) {
        if (!list[0])
                return;
        printf("\n%s\n", title);
        for (; *list; list++)
                printf("  - %s\n", *list);
}

static void put_failure(const char *pattern, const Explanation *e, void *userdata _unused_) {
        char id[MESSAGE_ID_SIZE];

        message_id_of_pattern(pattern, id);
        printf("-- %s\nSubject: Job @FDLD_JOB@ failed: %s\nDefined-By: fdld\nDocumentation: man:fdlctl(1)\n\n%s (@FDLD_CODE@, at @FDLD_SLOT@)\n", id,
               e->summary, e->summary);
        put_list("Likely causes:", e->causes);
        put_list("What to do:", e->actions);
        printf("\n\"fdlctl show @FDLD_JOB@\" has the particulars, \"fdlctl trace @FDLD_JOB@\" what was said; \"fdlctl retry @FDLD_JOB@\" does it again.\n\n");
}

int main(int argc, char **argv) {
        char id[MESSAGE_ID_SIZE];

        if (argc > 1) {
                if (!message_id(MESSAGE_FAILURE, argv[1], id))
                        return 1;
                puts(id);
                return 0;
        }
        printf("# Made from daemon/common/messages.def and errors.def.\n\n");
        for (LogMessage m = MESSAGE_NONE + 1; m < MESSAGE_FAILURE; m++) {
                (void) message_id(m, NULL, id);
                printf("-- %s\nSubject: %s\nDefined-By: fdld\nDocumentation: man:fdld(8)\n\n%s\n\n", id, message_subject(m), message_text(m));
        }
        explanation_foreach(put_failure, NULL);
        return ferror(stdout) ? 1 : 0;
}
