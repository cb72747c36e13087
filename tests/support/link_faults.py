#!/usr/bin/python3
"""A link to nas-profile that breaks at random, but the same way for the same seed:
  link_faults.py ROOT PROGRAM JOB     runs PROGRAM JOB and hands on what the two ends say

adb_device.py imports it.  Of ROOT:
  faults  holds a seed: each run has one fault, after some bytes of output; without it there is none
  runs    counts the runs
  log     gets a line for each start, each answer that PROGRAM gave (whether or not it arrived) and
          each fault: "start", "turn N", "fault KIND"
A fault is one of KINDS; the link ends with all but "stall" and "garble".
"""
import os
import random
import subprocess
import sys
import threading
import time

KINDS = ("cut", "stall", "stall-cut", "garble", "gone")
MOST_BYTES = 6000  # of output before a fault: some twenty answers


class Faults:
    gone = False  # the device itself is away, for `seconds`

    def __init__(self, root):
        self.root, self.rest, self.passed, self.kind = root, b"", 0, None
        seed = self.read("faults")
        run = int(self.read("runs") or 0)
        self.log("start")
        if seed is not None:
            with open(os.path.join(root, "runs"), "w") as file:
                file.write(str(run + 1))
            random.seed(seed + " " + str(run))
            self.kind = random.choice(KINDS)
            self.at = random.randrange(1, MOST_BYTES)
            self.seconds = random.uniform(0.05, 0.5)

    def read(self, name):
        try:
            with open(os.path.join(self.root, name)) as file:
                return file.read().strip()
        except OSError:
            return None

    def log(self, text):
        with open(os.path.join(self.root, "log"), "a") as file:
            file.write(text + "\n")

    def note(self, data):
        """Writes down which turns were measured."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b'{"turn":'):
                self.log("turn " + line[8:line.index(b",")].decode())

    def hand_on(self, data, write):
        """Writes output of the program to the other end; False when the link is to end."""
        self.note(data)
        before, self.passed = self.passed, self.passed + len(data)
        if self.kind is None or self.passed <= self.at:
            write(data)
            return True
        cut, kind, self.kind = self.at - before, self.kind, None
        if kind == "garble":
            data = data[:cut] + b"\x80" + data[cut:]
        if cut > 0:
            write(data[:cut])
        self.log("fault " + kind)
        if "stall" in kind:
            time.sleep(self.seconds)
        if kind in ("stall", "garble"):
            write(data[cut:])
            return True
        self.gone = kind == "gone"
        return False


def main():
    root, argv = sys.argv[1], sys.argv[2:]
    away = os.path.join(root, "away")
    if os.path.exists(away) and time.time() < os.stat(away).st_mtime:
        sys.exit("no such device")
    faults = Faults(root)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def listen():
        while data := os.read(0, 4096):
            os.write(process.stdin.fileno(), data)
        process.stdin.close()

    threading.Thread(target=listen, daemon=True).start()
    while data := os.read(process.stdout.fileno(), 4096):
        if not faults.hand_on(data, lambda piece: os.write(1, piece)):
            process.kill()
            if faults.gone:
                open(away, "w").close()
                os.utime(away, (time.time() + faults.seconds,) * 2)
            os._exit(255)
    os._exit(process.wait())


if __name__ == "__main__":
    main()
