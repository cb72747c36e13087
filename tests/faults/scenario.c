/* The table of scenarios; every command that a user can give and that ends by itself is in it, but for
 * `demo`, whose parts are. */
#include "tests/faults/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/faults/trial.h"

#define QUIET " --quiet --threads 1 --json"
#define RUN " --checkpoint-seconds 0" QUIET
/* Eight steps, each with a checkpoint, then two networks judged. */
#define SEARCH                                                                                 \
    "search --data d.nasd --space tiny --table t.yaml --target-ms 1 --warmup-epochs 1 "        \
    "--epochs 1 --batch 32 --arch-every 2 --derive-samples 2 --score-images 20 "               \
    "--valid-fraction 0.3"
#define TRAIN "train --data d.nasd --arch net.json --epochs 2 --batch 32"
#define EVOLVE                                                                                 \
    "evolve --space tiny --predictor p.safetensors --table t.yaml --target-ms 1 --rounds 3 "   \
    "--population 20"
#define JUDGED " --data d.nasd --recalibrate-images 32 --score-images 20"
#define SHRINK "ofa shrink --space ofa-tiny --schedule plan.json" JUDGED
#define SUBNET(what) "ofa " what " --model s.safetensors" JUDGED
#define MODEL(what) what " --model m.safetensors --data d.nasd --batch 32"
#define PRODUCT "store/runs/*/model.safetensors"

const scenario scenarios[] = {
    {"search", "inputs", SEARCH RUN, .run = true, .changes = true},
    {"search, reinforce", "inputs", SEARCH " --method reinforce" RUN, .run = true, .changes = true},
    {"search, evolution", "inputs", SEARCH " --method evolution" RUN, .run = true, .changes = true},
    {"search, random", "inputs", SEARCH " --method random" RUN, .run = true, .changes = true},
    {"train", "inputs", TRAIN RUN, .run = true, .file = "store/runs/*/model.safetensors",
     .changes = true},
    {"evolve", "inputs", EVOLVE QUIET, .run = true, .file = "store/runs/*/arch.json",
     .changes = true},
    {"jobs run", "queue", "jobs run --cores 1 --grace 1" QUIET, "jobs logs s --stream out",
     .changes = true, .waits = true, .kept = "runs show 1" QUIET},
    {"jobs submit", "inputs", "jobs submit --file jobs.json" QUIET, "jobs list" QUIET,
     .changes = true, .repeated = 2},
    {"jobs cancel", "queue", "jobs cancel s" QUIET, "jobs list" QUIET, .changes = true,
     .repeated = 2},
    {"jobs retry", "ended", "jobs retry bad" QUIET, "jobs list" QUIET, .changes = true},
    {"data synth", "inputs", "data synth --out o.nasd --size 16 --train 60 --test 20" QUIET,
     .file = "o.nasd", .changes = true},
    {"data import", "inputs", "data import cifar --out o.nasd" QUIET, .file = "o.nasd",
     .changes = true},
    {"pipeline", "inputs", "pipeline pipe.json" QUIET, .changes = true, .waits = true},
    {"jobs task", "inputs", "jobs task batch.json --quiet", .changes = true, .repeated = 1, .judged = 1},
    {"store backup", "store", "store backup copy" QUIET, "store verify --quiet --json --store copy",
     .changes = true, .repeated = 2},
    {"store gc", "store", "store gc" QUIET, "store verify" QUIET, .changes = true},
    {"store migrate", "old", "store migrate" QUIET, "runs list" QUIET, .changes = true},
    {"runs delete", "store", "runs delete search-1" QUIET, "runs list" QUIET,
     .changes = true, .repeated = 2},
    {"report", "store", "report --out r.html" QUIET, .changes = true},
    {"export onnx", "store", "export --model m.safetensors --onnx m.onnx" QUIET,
     .file = "m.onnx", .changes = true},
    {"export torch", "store", "export --model m.safetensors --net-config n.json --weights w.pt"
     QUIET, .file = "w.pt", .changes = true},
    {"profile", "inputs", "profile --space tiny --out h.yaml --max-seconds 0.2" QUIET,
     .changes = true, .times = true},
    {"latency fit", "inputs", "latency fit --table t.yaml --space tiny --samples 10 --rounds 1 "
     "--out f.yaml" QUIET, .changes = true, .times = true},
    {"latency scale", "inputs", "latency scale --table t.yaml --space tiny --image-size 20 "
     "--out s.yaml" QUIET, .file = "s.yaml", .changes = true},
    {"latency import", "inputs", "latency import t.csv --out i.yaml" QUIET, .file = "i.yaml",
     .changes = true},
    {"latency verify", "inputs", "latency verify --table t.yaml --space tiny --samples 2 --rounds 1"
     QUIET, .changes = true, .times = true},
    {"latency train", "inputs", "latency train --space tiny --samples 20 --rounds 1 --steps 5 "
     "--hidden 4 --out r.latency" QUIET, .changes = true, .times = true},
    {"predictor train", "inputs", "predictor train --space tiny --samples a.json "
     "--out q.safetensors --epochs 2 --hidden 8" QUIET, .file = "q.safetensors", .changes = true},
    {"resume", "stopped", "resume" QUIET, "runs show 1" QUIET, .run = true, .changes = true},
    {"ofa shrink", "inputs", SHRINK RUN, .run = true,
     .file = "store/runs/*/supernet.safetensors", .changes = true},
    {"ofa sample", "supernet", SUBNET("sample") " --count 4 --out b.json" RUN, .run = true,
     .file = "b.json", .changes = true},
    {"ofa search", "supernet", SUBNET("search") " --max-macs 700000 --population 4 --generations 2"
     RUN, .run = true, .changes = true},
    {"ofa extract", "supernet", SUBNET("extract") " --epochs 1 --out x.safetensors" RUN,
     .run = true, .file = "x.safetensors", .changes = true},
    {"prune", "store", MODEL("prune") " --ratio 0.6 --episodes 4 --warmup-episodes 2 "
     "--calibration-images 64 --judge-images 20 --finetune-epochs 1" RUN, .run = true,
     .file = PRODUCT, .changes = true},
    {"quantize", "store", MODEL("quantize") " --bits 6 --calibration-images 32 --finetune-epochs 1"
     RUN, .run = true, .file = PRODUCT, .changes = true},
    {"quantize, agent", "store", MODEL("quantize") " --agent ddpg --size-ratio 0.15 --episodes 3 "
     "--warmup-episodes 2 --calibration-images 32" RUN, .run = true, .file = PRODUCT,
     .changes = true},
    {"eval", "store", "eval --model m.safetensors --data d.nasd" QUIET, .times = true},
    {"data info", "inputs", "data info d.nasd --verify" QUIET},
    {"space list", "inputs", "space list" QUIET},
    {"space show", "inputs", "space show tiny" QUIET},
    {"space count", "inputs", "space count proxyless-cifar" QUIET},
    {"space sample", "inputs", "space sample tiny --out o.json" QUIET, .file = "o.json",
     .changes = true},
    {"latency predict", "inputs", "latency predict --table t.yaml --arch net.json" QUIET},
    {"latency check", "inputs", "latency check --table t.yaml --space tiny" QUIET},
    {"latency show", "inputs", "latency show --table t.yaml" QUIET},
    {"latency diff", "inputs", "latency diff t.yaml t.yaml" QUIET},
    {"latency export", "inputs", "latency export --table t.yaml --format csv --out t.csv" QUIET,
     .file = "t.csv", .changes = true},
    {"runs list", "store", "runs list" QUIET},
    {"runs show", "store", "runs show search-1" QUIET},
    {"runs compare", "store", "runs compare search-1 train-2" QUIET},
    {"runs export", "store", "runs export search-1 --quiet"},
    {"runs export, csv", "store", "runs export search-1 --out m.csv" QUIET, .file = "m.csv",
     .changes = true},
    {"runs export, board", "store", "runs export search-1 --tensorboard board" QUIET,
     .changes = true},
    {"runs export, optuna", "store", "runs export search-1 --optuna o.db" QUIET, .file = "o.db",
     .changes = true},
    {"jobs list", "queue", "jobs list" QUIET},
    {"jobs show", "ended", "jobs show bad" QUIET},
    {"jobs why", "ended", "jobs why bad" QUIET},
    {"jobs logs", "ended", "jobs logs bad --quiet"},
    {"store verify", "store", "store verify" QUIET, .judged = 65},
    {"inspect", "store", "inspect m.safetensors" QUIET},
    {"doctor", "store", "doctor --report b.json" QUIET, .changes = true, .times = true,
     .judged = 65},
    {"bench", "inputs", "bench --space tiny --batch 8 --steps 1" QUIET, .times = true},
    {"bench ops", "inputs", "bench ops --space tiny --batch 1 --seconds 0.001" QUIET,
     .times = true},
    {"completion", "inputs", "completion bash --quiet"},
    {"help", "inputs", "help search"},
};
const int scenario_count = sizeof scenarios / sizeof *scenarios;

/* ---- the folders ---- */

static void must(const char *command, int code)
{
    const trial_end end = trial_run(command, false);

    if (end.code != code)
        trial_die("%s: exit code %d: %s", command, end.code, end.err);
}

static FILE *create(const char *name)
{
    char path[400];

    snprintf(path, sizeof path, "%s/%s", place.work, name);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        trial_die("%s cannot be written", path);
    return file;
}

static void put(const char *name, const char *text)
{
    FILE *file = create(name);

    fputs(text, file);
    fclose(file);
}

static void copy_in(const char *from, const char *name)
{
    FILE *in = fopen(from, "r"), *out = create(name);

    if (in == NULL)
        trial_die("%s cannot be read", from);
    for (int c; (c = getc(in)) != EOF;)
        putc(c, out);
    fclose(in);
    fclose(out);
}

/* The keys that are missing in a table without any, at 0.1 ms and more. */
static void make_table(void)
{
    json_t *key;
    size_t i;

    put("empty.yaml", "Conv-input:1x1x1-output:1x1x1: {mean: 1.0}\n");
    const trial_end end = trial_run("latency check --table empty.yaml --space tiny --json", false);
    json_t *answer = json_loads(end.out, 0, NULL);
    FILE *table = create("t.yaml");

    json_array_foreach(json_object_get(answer, "missing"), i, key)
        fprintf(table, "%s: {mean: 0.%03d}\n", json_string_value(key), 100 + (int)i);
    json_decref(answer);
    fclose(table);
}

/* CIFAR-10's files, with a few grey images each. */
static void make_cifar(void)
{
    char path[400], name[40];

    snprintf(path, sizeof path, "%s/cifar", place.work);
    mkdir(path, 0700);
    for (int i = 1; i <= 6; i++) {
        snprintf(name, sizeof name, i < 6 ? "cifar/data_batch_%d.bin" : "cifar/test_batch.bin", i);
        FILE *file = create(name);
        for (int image = 0; image < 20; image++) {
            putc(image % 10, file);
            for (int byte = 0; byte < 3072; byte++)
                putc(10 * image + i, file);
        }
        fclose(file);
    }
}

/* What Slurm would run; the process of its one task does next to nothing. */
static void make_batch(void)
{
    char text[1200];

    snprintf(text, sizeof text, "{\"store\": \"%s/store\", \"grace_ms\": 1000, \"log_bytes\": "
             "10000, \"tasks\": [{\"name\": \"n\", \"folder\": \"%s\", \"job\": 1, "
             "\"attempt\": 1, \"cores\": 1, \"time_limit_s\": 0, \"hang_limit_s\": 0, "
             "\"words\": [\"space\", \"list\"]}]}", place.work, place.work);
    put("batch.json", text);
    setenv("SLURM_ARRAY_TASK_ID", "0", 1);
}

/* Networks with an accuracy that somebody may have measured. */
static void make_samples(void)
{
    json_t *list = json_array();
    char command[64], path[400];

    for (int i = 0; i < 10; i++) {
        snprintf(command, sizeof command, "space sample tiny --index %d --out s.json", i);
        must(command, 0);
        snprintf(path, sizeof path, "%s/s.json", place.work);
        json_array_append_new(list, json_pack("{s:o, s:f}", "arch", json_load_file(path, 0, NULL),
                                              "top1", 0.5 + 0.01 * i));
    }
    json_t *samples = json_pack("{s:o}", "samples", list);
    char *text = json_dumps(samples, 0);
    put("a.json", text);
    free(text);
    json_decref(samples);
}

static void make_inputs(const char *source)
{
    char path[1024];

    mkdir(place.work, 0700);
    must("data synth --out d.nasd --size 16 --train 200 --test 20 --quiet", 0);
    make_table();
    must("space sample tiny --out net.json", 0);
    snprintf(path, sizeof path, "%s/tests/golden/predictor.safetensors", source);
    copy_in(path, "p.safetensors");
    put("jobs.json",
        "{\"jobs\": [{\"name\": \"s\", \"run\": [\"search\", \"--quiet\", \"--json\"],"
        " \"options\": {\"data\": \"d.nasd\", \"space\": \"tiny\", \"table\": \"t.yaml\","
        " \"target_ms\": 1, \"warmup_epochs\": 1, \"epochs\": 1, \"batch\": 32,"
        " \"arch_every\": 2, \"derive_samples\": 2, \"score_images\": 20,"
        " \"valid_fraction\": 0.3, \"checkpoint_seconds\": 0}},"
        " {\"name\": \"c\", \"run\": [\"space\", \"count\", \"tiny\"], \"after\": [\"s\"]}]}");
    put("plan.json", "{\"defaults\": {\"batch\": 32, \"lr\": 0.05}, \"phases\": [{\"name\": \"teacher\"},"
                     " {\"name\": \"kernel\", \"kernel\": [3, 5, 7]}]}");
    put("pipe.json",
        "{\"data\": \"d.nasd\", \"space\": \"tiny\", \"table\": \"t.yaml\", \"stages\":"
        " {\"search\": {\"target_ms\": 1, \"warmup_epochs\": 1, \"epochs\": 1, \"batch\": 32,"
        " \"arch_every\": 2, \"derive_samples\": 2, \"score_images\": 20,"
        " \"valid_fraction\": 0.3}, \"train\": {\"epochs\": 1, \"batch\": 32}}}");
    must("latency export --table t.yaml --format csv --out t.csv --quiet", 0);
    make_samples();
    make_cifar();
    make_batch();
    trial_keep("inputs");
}

void scenario_prepare(const char *source)
{
    char command[1024];

    make_inputs(source);

    must("jobs submit --file jobs.json --quiet", 0);
    trial_keep("queue");

    trial_copy("inputs");
    must("jobs submit --name bad --retries 0 --quiet -- data info none.nasd --quiet", 0);
    must("jobs run --quiet", 1);
    trial_keep("ended");

    trial_copy("inputs");
    must(SEARCH RUN, 0);
    must(TRAIN RUN, 0);
    copy_in((snprintf(command, sizeof command, "%s/store/runs/2/model.safetensors", place.work),
             command), "m.safetensors");
    trial_keep("store");

    trial_copy("inputs");
    must(SHRINK RUN, 0);
    copy_in((snprintf(command, sizeof command, "%s/store/runs/2/supernet.safetensors", place.work),
             command), "s.safetensors");
    trial_keep("supernet");

    /* a search that a kill stopped after some steps */
    trial_copy("inputs");
    trial_plan(FAULT_CHANGE, FAULT_KILL, 300, false, false);
    trial_run(SEARCH RUN, true);
    trial_keep("stopped");

    trial_copy("inputs");
    snprintf(command, sizeof command, "cd %s && mkdir -p store/runs && sqlite3 store/store.db < "
             "%s/tests/golden/store-v1.sql && sqlite3 store/store.db 'DELETE FROM artifact'",
             place.work, source);
    if (system(command) != 0)
        trial_die("sqlite3 cannot read the old store");
    trial_keep("old");
}
