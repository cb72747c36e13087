#!/usr/bin/python3
"""What Optuna reads from a database: optuna_read.py FILE.  Prints one JSON object a study.

Debian's Optuna (3.1) is one step of the schema older than the file, which only added an index that it
does not miss: this file, a copy for the test, is told to be that step.
"""
import json
import logging
import sqlite3
import sys

import optuna

optuna.logging.set_verbosity(logging.ERROR)
if optuna.__version__ < "3.2":
    with sqlite3.connect(sys.argv[1]) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
storage = "sqlite:///" + sys.argv[1]
for summary in optuna.get_all_study_summaries(storage):
    study = optuna.load_study(study_name=summary.study_name, storage=storage)
    trials = study.get_trials()
    best = study.best_trials
    print(json.dumps({
        "name": study.study_name,
        "directions": [d.name for d in study.directions],
        "trials": len(trials),
        "complete": sum(t.state.name == "COMPLETE" for t in trials),
        "best": [t.number for t in best],
        "values": [t.values for t in trials],
        "params": [t.params for t in trials],
        "attributes": [t.user_attrs for t in trials],
        "start": str(trials[0].datetime_start),
    }))
