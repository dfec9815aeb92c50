/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What the command line says, and the verbs. Each verb gets its own name as argv[0] and returns an exit code. */

extern const char *arg_loaders;
extern bool arg_erase_all;
extern const char *arg_include, *arg_exclude, *arg_check_units, *arg_try_check, *arg_keep_charge, *arg_nv, *arg_stamps, *arg_table_check;
extern const char *arg_sparse;
extern bool arg_skip_equal;
extern const char *arg_slot, *arg_device, *arg_mode, *arg_finish, *arg_verify, *arg_raw;
extern const char *arg_from;
extern bool arg_all, arg_wait, arg_dry_run, arg_allow_warnings, arg_repartition, arg_table_only;
extern uint64_t arg_timeout_usec;
extern const char *arg_name, *arg_host;
extern bool arg_pager;
extern bool arg_yes;
extern const char *arg_operator;
extern const char *arg_serials, *arg_first_mode; /* arg_serial: below */
/* jobs made of steps */
extern const char *arg_package, *arg_fdl1, *arg_fdl2, *arg_family;
extern uint64_t arg_offset, arg_length;
extern bool arg_any_image, arg_force, arg_unproven;
/* batches, arm */
extern const char *arg_slots, *arg_profile, *arg_count, *arg_first_article, *arg_stop_after, *arg_retry;
extern const char *arg_straggler, *arg_quarantine_after, *arg_stop_on_difference;
extern bool arg_reflash, arg_once, arg_clear;
/* history, export */
extern const char *arg_serial, *arg_chip, *arg_batch, *arg_code, *arg_result, *arg_kind, *arg_since, *arg_until;
extern const char *arg_prune, *arg_format, *arg_cursor_file;
extern bool arg_check, arg_follow;
extern uint64_t arg_limit, arg_cursor;
extern const char *arg_pcap;
extern bool arg_personal;

void fdlctl_help(void);

/* Files and descriptors do not travel over ssh: with --host= an exit code after a line on stderr, without 0. */
int must_be_here(const char *verb);

int verb_status(int argc, char **argv);
int verb_devices(int argc, char **argv);
int verb_slots(int argc, char **argv);
int verb_jobs(int argc, char **argv);
int verb_packages(int argc, char **argv);
int verb_loaders(int argc, char **argv);
int verb_show(int argc, char **argv);
int verb_monitor(int argc, char **argv);
int verb_explain(int argc, char **argv);

int verb_import(int argc, char **argv);
int verb_flash(int argc, char **argv);
int verb_verify(int argc, char **argv);
int verb_repartition(int argc, char **argv);
int verb_wait(int argc, char **argv);
int verb_cancel(int argc, char **argv);
int verb_retry(int argc, char **argv);
int verb_answer(int argc, char **argv);
int verb_remove(int argc, char **argv);
int verb_probe(int argc, char **argv);
int verb_write(int argc, char **argv);
int verb_read(int argc, char **argv);
int verb_erase(int argc, char **argv);
int verb_reset(int argc, char **argv);
int verb_backup(int argc, char **argv);
int verb_restore(int argc, char **argv);
int verb_enter_download(int argc, char **argv);
int verb_repair(int argc, char **argv);
int verb_vault(int argc, char **argv);
int verify_backup(const char *directory); /* exit code */
int verb_doctor(int argc, char **argv);
int verb_label(int argc, char **argv);

int verb_start_batch(int argc, char **argv);
int verb_pause_batch(int argc, char **argv);
int verb_resume_batch(int argc, char **argv);
int verb_drain_batch(int argc, char **argv);
int verb_stop_batch(int argc, char **argv);
int verb_confirm(int argc, char **argv);
int verb_batches(int argc, char **argv);
int verb_profiles(int argc, char **argv);
int verb_arm(int argc, char **argv);
int verb_disarm(int argc, char **argv);
int verb_clear(int argc, char **argv);
int verb_watch(int argc, char **argv);
int verb_teach(int argc, char **argv);

int verb_trace(int argc, char **argv);
int verb_logs(int argc, char **argv);
int verb_bundle(int argc, char **argv);
int verb_history(int argc, char **argv);
int verb_export(int argc, char **argv);

int verb_inspect(int argc, char **argv);
int verb_plan(int argc, char **argv);
