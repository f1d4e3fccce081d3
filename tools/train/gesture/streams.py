"""Training of the net that follows a stream, on streams put together from gestures and rests of one subject in random order."""
import copy
import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

import nets
from learn import HALF, Optimiser
from prepare import Augment, alpha_of, between, following, pad


@dataclass
class Recipe:
    hidden: int = 96
    epochs: int = 30
    batch: int = 32  # streams
    gestures: int = 9  # in a stream
    chunk: int = 100  # rows between steps of the optimiser
    early: float = 0.3  # weight of the rows of a gesture before its end
    late: float = 4.0  # and of those after it, as many as the answer may be late
    lr: float = 4e-3
    decay: float = 1e-2
    drop: float = 0.3
    smooth: float = 0.05
    ema: float = 0.99
    rest: float = 1.5  # s, median of the rests
    steps: int = 1000  # of the optimiser, at least, whatever the epochs
    patience: int = 0  # epochs without progress on validation subjects, and half of all, that end training; 0: none does
    augment: Augment = field(default_factory=Augment)


class Streams:
    def __init__(self, data, spans, unit, recipe, delay):
        self.data, self.unit, self.recipe, self.delay = data, unit, recipe, delay
        self.none = len(data.labels)
        self.subjects = sorted({data.subject(s) for s in spans})
        self.spans = {s: [v for v in spans if data.subject(v) == s] for s in self.subjects}
        odd = {p for p in range(len(data.parts)) if data.truth(p)} - {s.part for s in spans}
        self.rests = {s: self._rests(s, odd) for s in self.subjects}
        usual = np.mean([v.hi - v.lo for v in spans]) + 1.1 * recipe.rest * data.rate
        self.rows = int(recipe.gestures * usual)  # a stream's usual length; longer ones are cut

    def _rests(self, subject, odd):
        """Parts whose spans were left out hold gestures where their rests should be."""
        own = self.data.rests(subject, skip=odd)
        return own or [r for s in self.data.subjects for r in self.data.rests(s, skip=odd)]

    def rest(self, rng, pieces, a, b):
        """Rest that begins at level a and ends at level b (None: its own)."""
        piece = pieces[rng.integers(len(pieces))]
        n = int(np.clip(rng.lognormal(math.log(self.recipe.rest * self.data.rate), 0.6), 0.2 * self.data.rate, 5 * self.recipe.rest * self.data.rate))
        while len(piece) < n:  # mirrored, so that it stays continuous
            piece = np.concatenate([piece, piece[::-1]])
        k = rng.integers(len(piece) - n + 1)
        piece = piece[k:k + n]
        first, last = piece[:4].mean(0), piece[-4:].mean(0)
        if a is None:
            a = b + first - last
        if b is None:
            b = a + last - first
        w = np.linspace(0, 1, n, dtype=np.float32)[:, None]
        return piece + (a - first) * (1 - w) + (b - last) * w

    def one(self, rng):
        """Rows [T, C], class [T], weight in the loss [T]."""
        data, aug, r = self.data, self.recipe.augment, self.recipe
        subject = self.subjects[rng.integers(len(self.subjects))]
        spans = [self.spans[subject][k] for k in rng.integers(len(self.spans[subject]), size=r.gestures)]
        lo, hi = np.array([s.lo for s in spans]), np.array([s.hi for s in spans])
        at, m = aug.pace(rng, lo, hi, aug.speeds(rng, len(spans)))
        moved = between(data.rows, lo[:, None] + at)
        level = moved[:, :4].mean(1, keepdims=True)
        moved = level + (moved - level) * np.exp(rng.normal(0, aug.amplitude, (len(spans), 1, 1))).astype(np.float32)
        rows, labels, weights, before = [], [], [], None
        for s, x, n, old in zip(spans, moved, m, hi - lo):
            x = x[:n]
            rest = self.rest(rng, self.rests[subject], before, x[:4].mean(0))
            edge = int(round(data.margin * n / old))
            lab, w = np.full(n, self.none), np.ones(n, np.float32)
            lab[edge:n - edge] = s.label
            w[edge:n - edge] = r.late
            w[edge:max(edge, n - edge - self.delay)] = r.early
            rows += [rest, x]
            labels += [np.full(len(rest), self.none), lab]
            weights += [np.ones(len(rest), np.float32), w]
            before = x[-4:].mean(0)
        rest = self.rest(rng, self.rests[subject], before, None)
        y = np.concatenate([np.full(self.delay, self.none), *labels, np.full(len(rest), self.none)])
        w = np.concatenate([np.ones(self.delay, np.float32), *weights, np.ones(len(rest), np.float32)])
        x = np.concatenate([*rows, rest])
        return x, y[:len(x)], w[:len(x)]

    def batch(self, rng):
        b, t = self.recipe.batch, self.rows
        x = np.zeros((b, t, len(self.data.channels)), np.float32)
        y, w = np.zeros((b, t), int), np.zeros((b, t), np.float32)
        for k in range(b):
            own, lab, weight = self.one(rng)
            n = min(t, len(own))
            x[k, :n], x[k, n:], y[k, :n], w[k, :n] = own[:n], own[n - 1], lab[:n], weight[:n]
        aug = self.recipe.augment
        first = x[:, :1].copy()
        x = aug.wear(rng, x - first, self.data.sensors)
        x += rng.normal(0, 1, x.shape).astype(np.float32) * rng.uniform(0, aug.noise, (b, 1, 1)).astype(np.float32) * self.unit
        x = following(x, self.unit, alpha_of(self.data.rate))
        return torch.from_numpy(x).transpose(0, 1).contiguous(), torch.from_numpy(y).t(), torch.from_numpy(w).t()


def train(data, spans, unit, recipe, delay, seed, say, worth):
    """worth(net): what the recipe's patience looks at; larger is better."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    source = Streams(data, spans, unit, recipe, delay)
    net = nets.Following(len(data.channels), recipe.hidden, len(data.labels))
    batches = math.ceil(len(spans) / (recipe.batch * recipe.gestures))
    epochs = max(recipe.epochs, math.ceil(recipe.steps / (batches * math.ceil(source.rows / recipe.chunk))))
    opt = Optimiser(net, recipe, epochs * batches * math.ceil(source.rows / recipe.chunk))
    best, best_worth, best_epoch = None, -1.0, 0
    for epoch in range(1, epochs + 1):
        t0, total, n = time.time(), 0.0, 0
        net.train()
        for _ in range(batches):
            x, y, w = source.batch(rng)
            state = None
            for a in range(0, len(x), recipe.chunk):
                with torch.autocast("cpu", torch.bfloat16, HALF):
                    logits, state = net(x[a:a + recipe.chunk], state, recipe.drop)
                state = tuple(s.detach() for s in state)
                yc, wc = y[a:a + recipe.chunk].flatten(), w[a:a + recipe.chunk].flatten()
                ce = nn.functional.cross_entropy(logits.float().flatten(0, 1), yc, reduction="none", label_smoothing=recipe.smooth)
                total, n = total + opt.step((ce * wc).sum() / wc.sum().clamp_min(1)), n + 1
        if epoch % max(10, epochs // 10) == 0 or epoch == epochs:
            say(f"epoch {epoch} of {epochs} loss {total / n:.4f} {time.time() - t0:.1f} s")
        if not recipe.patience:
            continue
        if (w := worth(opt.average.net)) >= best_worth:
            best, best_worth, best_epoch = copy.deepcopy(opt.average.net), w, epoch
        if epoch - best_epoch >= max(recipe.patience, epochs // 2):
            say(f"epoch {epoch}: no better on validation subjects since {best_epoch}, F1 {100 * best_worth:.1f} %")
            break
    return (best or opt.average.net).eval()


@torch.no_grad()
def answers(net, xs):
    """Whole recordings, state zero before the first row."""
    net.eval()
    out = []
    for k in range(0, len(xs), 16):
        x, _ = pad(xs[k:k + 16])
        p = torch.softmax(net(x)[0], -1).numpy()
        out += [p[:len(v), i] for i, v in enumerate(xs[k:k + 16])]
    return out
