#!/usr/bin/python3
"""A device whose times are known:  timed_device.py FROM TO FACTOR PROGRAM JOB  (PROGRAM is not run)
Block s of candidate c takes 1 + 0.1 s + 0.01 c ms, nothing if it is skipped, and the probe 20 ms; in
the turns FROM to TO - 1 all takes FACTOR times as long."""
import json
import sys

first, last, factor = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
skipped = []  # of each slot: for each candidate whether it is zero
with open(sys.argv[5]) as job:
    for words in map(str.split, job):
        if words[0] == "slot":
            skipped.append([])
        elif words[0] == "op":
            skipped[-1].append(words[1] == "zero")


def say(answer):
    print(json.dumps(answer), flush=True)


say({"onepath_profile": 1, "device": "a stand-in", "engine": "nas", "kernels": "none",
     "governor": "none", "cores": 1, "threads": 1, "load": 0, "emulated": False})
for line in sys.stdin:
    kind, number, *choice = line.split()
    choice = [int(c) for c in choice]
    level = factor if first <= int(number) < last else 1.0
    if kind == "probe":
        say({"probe": int(number), "ms": 20 * level})
    else:
        say({"turn": int(number), "choice": choice,
             "ms": [0 if skipped[s][c] else (1 + 0.1 * s + 0.01 * c) * level
                    for s, c in enumerate(choice)]})
