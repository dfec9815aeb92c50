/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/plan.h"

/* What plans and the engine have to know of a family of devices: the rows FAMILY of flash/types.def. */

typedef enum FamilyPlaces {
        PLACES_NAMES,   /* partitions or volumes by name */
        PLACES_FLASH,   /* addresses of flash, and a few logical ones */
        PLACES_LOGICAL, /* logical numbers only */
} FamilyPlaces;

typedef struct Family {
        const char *word; /* as pac_family() says it */
        unsigned id;      /* a bit of its own */
        unsigned loaders; /* at least */
        uint64_t nv_max;
        bool calibration_gate;
        PlanProtocol protocol;
        FamilyPlaces places;
        bool questions; /* its last loader lives on after a command that it does not know */
} Family;

const Family *family_find(const char *word); /* NULL: there is none */
/* Partitions have names. False for a family that is not known. */
bool family_has_names(const char *word);
