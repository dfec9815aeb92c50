/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* polkit's agent for a terminal: asks for the password while the daemon waits for polkit. Started when it is needed for the first time,
 * and only on a terminal; on a desktop the agent of the session is there already. */
void agent_open(void);
void agent_close(void);
