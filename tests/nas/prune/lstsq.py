#!/usr/bin/python3
"""Least squares of a pruned convolution by LAPACK (numpy's lstsq) and by PyTorch's.

    lstsq.py INPUTS WEIGHTS KEPT ANSWER N SIDE IN OUT K

INPUTS [n][side][side][in], WEIGHTS [k*k][in][out], KEPT channel numbers as int32, ANSWER [k*k][kept][out]: plain float32.
Prints how far the answer is from both, relative to the largest weight of theirs."""
import sys

import numpy as np
import torch

n, side, cin, cout, k = map(int, sys.argv[5:])
x = np.fromfile(sys.argv[1], np.float32).reshape(n, side, side, cin).astype(np.float64)
w = np.fromfile(sys.argv[2], np.float32).reshape(k * k * cin, cout).astype(np.float64)
kept = np.fromfile(sys.argv[3], np.int32)
padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
windows = [padded[:, a:a + side, b:b + side, :] for a in range(k) for b in range(k)]
full = np.stack(windows, axis=3).reshape(n * side * side, k * k * cin)
left = np.stack(windows, axis=3)[..., kept].reshape(n * side * side, -1)
answer = np.fromfile(sys.argv[4], np.float32).reshape(left.shape[1], cout)
lapack = np.linalg.lstsq(left, full @ w, rcond=None)[0]
pytorch = torch.linalg.lstsq(torch.from_numpy(left), torch.from_numpy(full @ w)).solution.numpy()
for theirs in (lapack, pytorch):
    print("%.3g" % (np.abs(answer - theirs).max() / np.abs(theirs).max()))
