/* A Slurm of three virtual nodes for one test (scripts/slurm-here). */
#ifndef NAS_TESTS_CLI_SLURM_HERE_H
#define NAS_TESTS_CLI_SLURM_HERE_H

/** Starts it in the test's folder and sets SLURM_CONF; skips the test where there is none. */
void slurm_need(void);
/** Kills what runs on it and ends it, if it was started; before nas_end. */
void slurm_end(void);

#endif
