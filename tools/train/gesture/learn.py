"""Training of the nets on cut gestures, and their answers."""
import copy
import math
import time
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import nn

import nets
from prepare import Augment, Gestures, pad


# Products in bfloat16 while training, where the processor has units for them: less than half the time.
HALF = torch.cpu._is_amx_tile_supported()


@dataclass
class Recipe:
    """How a net on cut gestures is trained."""

    kind: str = "one-way"  # one-way, backward, lefebvre
    hidden: int = 96
    epochs: int = 25
    batch: int = 32
    lr: float = 4e-3
    decay: float = 1e-2
    drop: float = 0.3
    smooth: float = 0.05
    ema: float = 0.99
    steps: int = 1000  # of the optimiser, at least, whatever the epochs
    patience: int = 0  # epochs without progress on validation subjects, and half of all, that end training; 0: none does
    augment: Augment = field(default_factory=Augment)

    def net(self, inputs, classes):
        if self.kind == "lefebvre":
            return nets.BLSTM(inputs, self.hidden, classes)
        return nets.Gestures(inputs, self.hidden, classes, backward=self.kind == "backward")


NO_AUGMENT = Augment(jitter=0, degrees=0, gain=0, amplitude=0, speed=0, wobble=0, noise=0)

RECIPES = {
    # Lefebvre et al. 2013: sizes, peepholes, cross-entropy of every step, no augmentation. They train by gradient descent with momentum 0.9,
    # a gesture at a time; here AdamW with batches of 32, which takes a tenth of the time.
    "lefebvre": Recipe("lefebvre", hidden=100, epochs=25, decay=1e-4, drop=0, smooth=0, ema=0, augment=NO_AUGMENT),
    "one-way": Recipe(),
    "backward": Recipe("backward"),
}


class Average:
    """Exponential average of the weights, used for evaluation and export."""

    def __init__(self, net, keep):
        self.net, self.keep, self.n = copy.deepcopy(net), keep, 0

    def update(self, net):
        self.n += 1
        k = min(self.keep, self.n / (self.n + 10))
        with torch.no_grad():
            for a, b in zip(self.net.parameters(), net.parameters()):
                a.lerp_(b, 1 - k)


class Optimiser:
    """AdamW, warmed up, then along a cosine."""

    def __init__(self, net, recipe, steps):
        self.net = net
        self.adam = torch.optim.AdamW(net.parameters(), lr=recipe.lr, weight_decay=recipe.decay)
        warm = max(1, steps // 20)
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            self.adam, lambda s: min(1, (s + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1, s / steps))))
        self.average = Average(net, recipe.ema)

    def step(self, loss):
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.adam.step()
        self.rate.step()
        self.average.update(self.net)
        return loss.item()


def probabilities(logits, lengths):
    """[B, classes] of the whole gesture, from logits [B, classes], or [T, B, classes] of which the softmax is averaged over time."""
    p = torch.softmax(logits, -1)
    if p.dim() == 2:
        return p
    return (p * mask_of(p, lengths)[..., None]).sum(0) / lengths[:, None]


def mask_of(p, lengths):
    return (torch.arange(len(p))[:, None] < lengths).float()


def loss_of(recipe, logits, lengths, y):
    if logits.dim() == 2:
        return nn.functional.cross_entropy(logits, y, label_smoothing=recipe.smooth)
    mask = mask_of(logits, lengths)
    ce = nn.functional.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none", label_smoothing=recipe.smooth)
    return ((ce.view_as(mask) * mask).sum(0) / lengths).mean()


def train(data, spans, unit, recipe, seed, watch=None, say=print):
    """watch: spans of validation subjects, for early stopping; without it training takes all epochs."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    source = Gestures(data, spans, unit)
    watched = Gestures(data, watch, unit) if watch else None
    net = recipe.net(len(data.channels), len(data.labels))
    batches = len(list(source.epoch(np.random.default_rng(0), recipe.batch, recipe.augment)))
    epochs = max(recipe.epochs, math.ceil(recipe.steps / batches))
    opt = Optimiser(net, recipe, epochs * batches)
    best, best_loss, best_epoch = None, math.inf, 0
    for epoch in range(1, epochs + 1):
        t0, total = time.time(), 0.0
        net.train()
        for x, lengths, y in source.epoch(rng, recipe.batch, recipe.augment):
            with torch.autocast("cpu", torch.bfloat16, HALF):
                logits = net(x, lengths, recipe.drop)
            total += opt.step(loss_of(recipe, logits.float(), lengths, y))
        note = ""
        if watched:
            p = answers(opt.average.net, watched.plain())
            loss = -np.log(p[np.arange(len(p)), watched.y] + 1e-6).mean()
            note = f", validation {100 * (p.argmax(1) == watched.y).mean():.2f} %, loss {loss:.4f}"
            if recipe.patience and loss < best_loss:
                best, best_loss, best_epoch = copy.deepcopy(opt.average.net), loss, epoch
            if recipe.patience and epoch - best_epoch >= max(recipe.patience, epochs // 2):
                say(f"epoch {epoch}: no better on validation subjects since {best_epoch}, loss {best_loss:.4f}")
                break
        if epoch % max(10, epochs // 10) == 0 or epoch == epochs:
            say(f"epoch {epoch} of {epochs} loss {total / batches:.4f} {time.time() - t0:.1f} s{note}")
    return (best or opt.average.net).eval()


@torch.no_grad()
def answers(net, xs):
    """[N, classes]."""
    net.eval()
    out = []
    for k in range(0, len(xs), 64):
        x, lengths = pad(xs[k:k + 64])
        out.append(probabilities(net(x, lengths), lengths))
    return torch.cat(out).numpy()


def settings(recipe):
    return asdict(recipe)
