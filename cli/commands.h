/* The entries of all commands; cli/registry.c puts them in order. */
#ifndef NAS_CLI_COMMANDS_H
#define NAS_CLI_COMMANDS_H

#include "cli/command.h"

extern const cli_command cmd_bench, cmd_bench_ops;
extern const cli_command cmd_completion;
extern const cli_command cmd_data_import, cmd_data_info, cmd_data_synth;
extern const cli_command cmd_demo;
extern const cli_command cmd_doctor;
extern const cli_command cmd_eval;
extern const cli_command cmd_export;
extern const cli_command cmd_evolve;
extern const cli_command cmd_inspect;
extern const cli_command cmd_jobs_cancel, cmd_jobs_list, cmd_jobs_logs, cmd_jobs_retry,
    cmd_jobs_run, cmd_jobs_show, cmd_jobs_submit, cmd_jobs_task, cmd_jobs_why;
extern const cli_command cmd_latency_check, cmd_latency_diff, cmd_latency_export,
    cmd_latency_fit, cmd_latency_import, cmd_latency_predict, cmd_latency_scale, cmd_latency_show, cmd_latency_train,
    cmd_latency_verify;
extern const cli_command cmd_ofa_extract, cmd_ofa_sample, cmd_ofa_search, cmd_ofa_shrink;
extern const cli_command cmd_pipeline;
extern const cli_command cmd_predictor_train;
extern const cli_command cmd_profile;
extern const cli_command cmd_quantize;
extern const cli_command cmd_prune;
extern const cli_command cmd_report;
extern const cli_command cmd_resume;
extern const cli_command cmd_runs_compare, cmd_runs_delete, cmd_runs_export, cmd_runs_list,
    cmd_runs_show;
extern const cli_command cmd_search;
extern const cli_command cmd_serve;
extern const cli_command cmd_space_count, cmd_space_list, cmd_space_sample, cmd_space_show;
extern const cli_command cmd_store_backup, cmd_store_gc, cmd_store_migrate, cmd_store_verify;
extern const cli_command cmd_train;

#endif
