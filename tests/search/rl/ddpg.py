#!/usr/bin/python3
"""Updates of DDPG by PyTorch: ddpg.py DATA STATES ACTIONS HIDDEN ROWS UPDATES

DATA holds plain float32: actor and critic before, ROWS transitions (state, action, reward, next, done), actor and critic
after UPDATES updates on all of them. Prints how far the latter are from PyTorch's, in units of the largest change."""
import sys

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
s, a, hidden, rows, updates = map(int, sys.argv[2:])
data = torch.from_numpy(np.fromfile(sys.argv[1], np.float32).astype(np.float64))


def take(*shape):
    global data
    count = int(np.prod(shape))
    values, data = data[:count].reshape(shape), data[count:]
    return values.clone()


def network(inputs, outputs):
    sizes = [inputs, hidden, hidden, outputs]
    return [take(*shape) for i in range(3) for shape in ((sizes[i], sizes[i + 1]), (sizes[i + 1],))]


def run(p, x):
    x = torch.relu(x @ p[0] + p[1])
    return torch.relu(x @ p[2] + p[3]) @ p[4] + p[5]


def policy(p, x):
    return torch.sigmoid(run(p, x))


def restrained(p, x):
    return 0.2 / 2 * (run(p, x) ** 2).sum(1).mean()


def value(p, x, u):
    return run(p, torch.cat([x, u], 1))[:, 0]


before = [network(s, a), network(s + a, 1)]
state, action, reward, after_state, done = take(rows, s), take(rows, a), take(rows), take(rows, s), take(rows)
ours = [network(s, a), network(s + a, 1)]
actor, critic = ([t.clone().requires_grad_() for t in p] for p in before)
slow = [[t.clone() for t in p] for p in before]
steps = torch.optim.Adam(actor, 1e-3), torch.optim.Adam(critic, 3e-3)
baseline = None
for _ in range(updates):
    mean = reward.mean()
    baseline = mean if baseline is None else baseline + 0.5 * (mean - baseline)
    with torch.no_grad():
        target = reward - baseline + 0.9 * (1 - done) * value(slow[1], after_state, policy(slow[0], after_state))
    steps[1].zero_grad()
    ((value(critic, state, action) - target) ** 2).mean().backward()
    steps[1].step()
    steps[0].zero_grad()
    (-value(critic, state, policy(actor, state)).mean() + restrained(actor, state)).backward()
    steps[0].step()
    with torch.no_grad():
        for p, t in zip((actor, critic), slow):
            for x, y in zip(p, t):
                y += 0.01 * (x - y)
for p, q, b in zip((actor, critic), ours, before):
    change = max((x - y).abs().max() for x, y in zip(p, b))
    print("%.3g" % (max((x - y).abs().max() for x, y in zip(p, q)) / change).item())
