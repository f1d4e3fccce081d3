"""Minimax rational tanh(x) = x*P(x^2)/Q(x^2) on [0, clamp], the constants of kernels/act.go.

    python kernels/fit/tanh.py M N CLAMP

fits numerator degree M and denominator degree N in u = x^2 by the differential correction algorithm
(Barrodale, Powell and Roberts, SIAM J. Numer. Anal. 9, 1972) as linear programmes in float64, then rounds to float32.
Needs numpy and scipy.
"""
import sys

import numpy as np
from scipy.optimize import linprog

M, N, clamp = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
x = clamp * (1 - np.cos(np.linspace(0, np.pi / 2, 1200)))
x = np.concatenate([x[1:], np.linspace(clamp * 0.8, clamp, 200)])
f = np.tanh(x)
u = x * x
scale = u.max()
A = np.stack([x * (u / scale) ** i for i in range(M + 1)], 1)
B = np.stack([(u / scale) ** i for i in range(N + 1)], 1)
TOP = 1 - 2.0**-24  # P/Q never above this, so that rounding cannot leave [-1, 1]

q = (1 + u / 4) ** N
a = np.linalg.lstsq(A / q[:, None], f, rcond=None)[0]
delta = np.abs(A @ a / q - f).max()
best = None
for it in range(60):
    # minimise d over a, b: |f*Qb - Pa| - delta*Qb <= d*q, P <= TOP*Q, b0 = 1
    w = 1.0 / q
    rows = []
    rhs = []
    rows.append(np.c_[-A * w[:, None], (f - delta)[:, None] * B * w[:, None], -np.ones(len(x))])
    rows.append(np.c_[A * w[:, None], (-f - delta)[:, None] * B * w[:, None], -np.ones(len(x))])
    rows.append(np.c_[A * w[:, None], -TOP * B * w[:, None], np.zeros(len(x))])
    G = np.concatenate(rows)
    n = G.shape[1]
    bounds = [(None, None)] * (M + 1) + [(1, 1)] + [(0, None)] * N + [(None, None)]
    r = linprog(np.r_[np.zeros(n - 1), 1], A_ub=G, b_ub=np.zeros(len(G)), bounds=bounds, method="highs",
                options=dict(primal_feasibility_tolerance=1e-10, dual_feasibility_tolerance=1e-10))
    if r.status != 0:
        break
    a, b = r.x[:M + 1], r.x[M + 1:n - 1]
    q = B @ b
    e = np.abs(A @ a / q - f).max()
    if best is None or e < best[0]:
        best = (e, a, b)
    if delta - e < 1e-4 * delta:
        break
    delta = e
e, a, b = best
a = a / scale ** np.arange(M + 1)
b = b / scale ** np.arange(N + 1)
a32, b32 = a.astype(np.float32), b.astype(np.float32)
xs = np.linspace(0, clamp, 4_000_001).astype(np.float32).astype(np.float64)
us = xs * xs
y = xs * np.polyval(a32[::-1].astype(float), us) / np.polyval(b32[::-1].astype(float), us)
t = np.tanh(xs)
print(f"fit {e:.3g}, with float32 constants {np.abs(y - t).max():.3g}, relative {np.abs(y[1:] / t[1:] - 1).max():.3g}, "
      f"top 1-{1 - y.max():.3g}, beyond the clamp {1 - np.tanh(clamp):.3g}, Q(clamp) {np.polyval(b32[::-1].astype(float), clamp**2):.4g}")
for name, c in (("p", a32), ("q", b32)):
    for i, v in enumerate(c):
        print(f"{name}{i} = {v:.9g} // {v.view(np.uint32):#010x}")
