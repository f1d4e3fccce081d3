"""The networks of Milan, Rezatofighi, Dick, Reid, Schindler: Online Multi-Target Tracking Using Recurrent Neural Networks, AAAI 2017,
and their training.

    python tools/train/mot/paper.py motion --data ../shared/data/mot15 --out out/paper
    python tools/train/mot/paper.py association --data ../shared/data/mot15 --out out/lstm
"""
import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import data
import synth


class Motion(nn.Module):
    """One target. The layers have the names of the authors' network; each product has a bias.

    prediction  h* = tanh(Wx x + Wh h)                x* = Wp h*
    update      h' = tanh(Wd (A1 z + A2 x*) + Wu h*)  x' = Wo h'   the state is h'
    existence   e' = sigmoid(w3 (tanh(W1 e) + W2 A))
    """

    def __init__(self, hidden=300):
        super().__init__()
        self.hidden = hidden
        self.i2h_pred, self.h2h_pred, self.state_xstar = nn.Linear(4, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 4)
        self.det_inp, self.h2h_upd, self.state_x = nn.Linear(4, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 4)
        self.ter_ex, self.ter_lab, self.ter_out = nn.Linear(1, hidden), nn.Linear(2, hidden), nn.Linear(hidden, 1)
        self.start()

    @torch.no_grad()
    def start(self, alpha=0.6, beta=0.2, bound=0.08):
        """Weights with which the layers, nearly linear for so small numbers, are an alpha-beta filter: what training starts from."""
        one, none = torch.eye(4), torch.zeros(4, 4)
        before, after = (torch.empty(self.hidden, 8).uniform_(-bound, bound) for _ in range(2))  # h* and h' of box and velocity
        unbefore, unafter = torch.linalg.pinv(before), torch.linalg.pinv(after)
        gain = torch.cat([alpha * one, beta * one])
        for layer, weight in ((self.i2h_pred, before[:, :4]),
                              (self.h2h_pred, before @ torch.cat([torch.cat([none, one], 1)] * 2) @ unafter),
                              (self.state_xstar, unbefore[:4]),
                              (self.det_inp, after @ gain),
                              (self.h2h_upd, after @ (torch.eye(8) - torch.cat([gain, torch.zeros(8, 4)], 1)) @ unbefore),
                              (self.state_x, unafter[:4])):
            layer.weight.copy_(weight)
            layer.bias.zero_()

    def forward(self, x, z, a, e, h):
        """x, z: [B, 4], a: [B, 2], e: [B, 1], h: [B, H] -> x*, x', e' (logit), h'"""
        p = torch.tanh(self.i2h_pred(x) + self.h2h_pred(h))
        star = self.state_xstar(p)
        d = a[:, :1] * z + a[:, 1:] * star
        h = torch.tanh(self.det_inp(d) + self.h2h_upd(p))
        return star, self.state_x(h), self.ter_out(torch.tanh(self.ter_ex(e)) + self.ter_lab(a)), h


class Association(nn.Module):
    """LSTM over the targets of a frame; at step i it sees the whole matrix of distances, its rows turned so that target i's is the first,
    and answers with the probabilities of target i's measurement, the last being "missed"."""

    def __init__(self, size=20, hidden=128, layers=2):
        super().__init__()
        self.size, self.hidden, self.layers = size, hidden, layers
        self.lstm = nn.LSTM(size * size, hidden, layers)
        self.out = nn.Linear(hidden, size + 1)

    def forward(self, c):
        """c: [B, N, M] -> logits [N, B, M + 1]"""
        n = self.size
        x = torch.stack([torch.roll(c, -i, 1).reshape(len(c), -1) for i in range(n)])
        return self.out(self.lstm(x)[0])


def train_motion(stats, steps, seed, size, length, lr):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = Motion()
    # Existence starts at random and stands alone; what the rest has to learn is less than RMSprop's noise at such a rate.
    opt = torch.optim.RMSprop([{"params": [p for k, p in net.named_parameters() if k.startswith("ter_") == existence], "lr": 100 * lr if existence else lr}
                               for existence in (False, True)], alpha=0.97)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * s / steps))))
    kappa, lam, nu, xi = 1, 1, 0.5, 1
    sums, t0 = np.zeros(4), time.time()
    for step in range(steps):
        truth, exists, z, a = map(torch.from_numpy, synth.batch(rng, stats, size, length))
        x, e, h = z[0], torch.full((size, 1), 0.5), torch.zeros(size, net.hidden)
        terms = torch.zeros(4)
        reset = rng.random() < 0.5  # as the published loop does; ours does not
        for t in range(1, length):
            if reset and t % 10 == 0:
                h = torch.zeros_like(h)
            star, x, logit, h = net(x, z[t], a[t], e, h)
            alive = exists[t][:, None]
            now = torch.sigmoid(logit)
            terms = terms + torch.stack([
                (alive * (x - truth[t]) ** 2).mean(), (alive * (star - truth[t]) ** 2).mean(),
                nn.functional.binary_cross_entropy_with_logits(logit, alive), ((now - e) ** 2).mean()])
            e = now
        terms = terms / (length - 1)
        loss = kappa * terms[0] + lam * terms[1] + nu * terms[2] + xi * terms[3]
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.1)
        opt.step()
        sched.step()
        sums += terms.detach().numpy()
        if step % 500 == 499:
            u, p, b, s = sums / 500
            print(f"step {step + 1} update rms {u ** 0.5:.5f} prediction rms {p ** 0.5:.5f} existence {b:.4f} smoothness {s:.4f} {time.time() - t0:.0f} s", flush=True)
            sums[:] = 0
    return net.eval()


def scenes(rng, stats, count, size):
    """Matrices of distances as the tracker makes them, [B, N, M], and the right answers [B, N], M for missed. Absent rows have answer -1."""
    far = np.float32(1)
    c, y = np.full((count, size, size), far, np.float32), np.full((count, size), -1)
    for b in range(count):
        n = rng.integers(1, size + 1)
        crowd = rng.uniform(0.3, 1)
        x = np.array([stats.track(rng, 1)[0] for _ in range(n)]) * [crowd, crowd, 1, 1]
        if n > 1 and rng.random() < 0.5:  # one meets another
            i, j = rng.choice(n, 2, False)
            x[j] = x[i] + rng.normal(0, 0.02, 4)
        speed = rng.uniform(0.002, 0.02)
        z = x + speed * rng.standard_normal((n, 4)) + rng.normal(0, 0.01, 4) * (rng.random() < 0.3)
        kept = np.flatnonzero(rng.random(n) > rng.uniform(0, 0.3))
        false = rng.integers(0, max(1, min(size - len(kept), 6)) + 1)
        false = min(false, size - len(kept))
        z = np.concatenate([z[kept], [stats.track(rng, 1)[0] for _ in range(false)]]) if false else z[kept]
        order = rng.permutation(len(z))
        c[b, :n, :len(z)] = distances(x, z[order])
        y[b, :n] = size
        for k, i in enumerate(order):
            if i < len(kept):
                y[b, kept[i]] = k
    return c, y


def distances(x, z):
    """Euclidean in the four normalised numbers, times 5, at most 1: what the association net takes."""
    return np.minimum(5 * np.sqrt(((x[:, None] - z[None]) ** 2).sum(-1)), 1)


def train_association(stats, steps, seed, size, hidden, layers, n, lr):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = Association(n, hidden, layers)
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * s / steps))))
    total, right, rows, t0 = 0, 0, 0, time.time()
    for step in range(steps):
        c, y = scenes(rng, stats, size, n)
        logits = net(torch.from_numpy(c))
        target = torch.from_numpy(y).t().flatten()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target, ignore_index=-1)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        total += loss.item()
        there = target >= 0
        right += int((logits.flatten(0, 1).argmax(-1) == target)[there].sum())
        rows += int(there.sum())
        if step % 200 == 199:
            print(f"step {step + 1} loss {total / 200:.4f} right {right / rows:.4f} {time.time() - t0:.0f} s", flush=True)
            total, right, rows = 0, 0, 0
    return net.eval()


def load(path):
    kept = torch.load(path)
    net = Motion(kept["hidden"]) if kept["net"] == "motion" else Association(hidden=kept["hidden"])
    net.load_state_dict(kept["state"])
    return net.eval()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("net", choices=["motion", "association"])
    ap.add_argument("--data", required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--out", type=Path, required=True, help="folder for model.pt")
    ap.add_argument("--steps", type=int, help="3600 for motion, 6000 for association unless given")
    ap.add_argument("--hidden", type=int, default=128, help="units of the association's two layers (the paper has 500)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(1)
    stats = synth.Statistics([data.Sequence(args.data, name) for name in data.TRAIN])
    args.out.mkdir(parents=True, exist_ok=True)
    if args.net == "motion":
        net = train_motion(stats, args.steps or 3600, args.seed, 48, 20, 1e-5)
    else:
        net = train_association(stats, args.steps or 6000, args.seed, 64, args.hidden, 2, 20, 2e-3)
    torch.save({"state": net.state_dict(), "net": args.net, "hidden": net.hidden, "torch": str(torch.__version__), "seed": args.seed}, args.out / "model.pt")


if __name__ == "__main__":
    main()
