"""The learnt filter: a GRU for each target, which is told how far its prediction was off, and answers with the corrected box, the next
step, how far that may be off, and whether the target is still there.

    python tools/train/mot/filter.py --data ../shared/data/mot15 --out out/filter
    python tools/train/mot/filter.py --data ../shared/data/mot15 --out out/without --without ETH-Bahnhof
"""
import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

import data
import scenes

FEATURES = ["e_cx", "e_cy", "e_w", "e_h", "d_cx", "d_cy", "d_w", "d_h", "seen", "score", "gap", "scene_x", "scene_y", "company", "edge", "cover"]
OUTPUTS = ["u_cx", "u_cy", "u_w", "u_h", "d_cx", "d_cy", "d_w", "d_h", "s_cx", "s_cy", "s_w", "s_h", "exists"]
STEP = 1.0   # bound of a step's size in heights, or of its logarithms
LONG = 30.0  # frames beyond which gaps are alike


class Filter(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.gru = nn.GRUCell(len(FEATURES), hidden)
        self.out = nn.Linear(hidden + len(FEATURES), len(OUTPUTS))
        self.hidden = hidden
        with torch.no_grad():  # begins as a filter of constant gain
            self.out.weight *= 0.1
            self.out.bias.zero_()
            at = lambda row, column, v: self.out.weight[row].__setitem__(hidden + column, v)
            for k in range(4):
                at(k, k, 0.6)
                at(4 + k, 4 + k, 0.95 if k < 2 else 0.8)
                at(4 + k, k, 0.2 if k < 2 else 0.05)
                self.out.bias[8 + k] = -2.0

    def forward(self, x, h):
        h = self.gru(x, h)
        return self.out(torch.cat([h, x], -1)), h


class Grid(nn.Module):
    """Weights as the int8 file has them: 127 steps to a row's largest. The gradient passes as if there were none."""

    def __init__(self):
        super().__init__()
        self.on = False

    def forward(self, w):
        if not self.on:
            return w
        step = w.detach().abs().amax(1, keepdim=True) / 127
        return w + (torch.round(w / step) * step - w).detach()


def gridded(net):
    """Puts grids over a net's weights -> the net, its grids"""
    grids = []
    for layer, name in ((net.gru, "weight_ih"), (net.gru, "weight_hh"), (net.out, "weight")):
        grids.append(Grid())
        parametrize.register_parametrization(layer, name, grids[-1])
    return net, grids


def plain(net):
    """The net with the weights that its grids make of them."""
    for layer, name in ((net.gru, "weight_ih"), (net.gru, "weight_hh"), (net.out, "weight")):
        parametrize.remove_parametrizations(layer, name)
    return net.eval()


def plus(p, d):
    d = d.clamp(-STEP, STEP)
    return torch.cat([p[..., :2] + d[..., :2] * p[..., 3:4], p[..., 2:] * torch.exp(d[..., 2:])], -1)


def minus(z, p):
    return torch.cat([(z[..., :2] - p[..., :2]) / p[..., 3:4], torch.log(z[..., 2:] / p[..., 2:])], -1)


def overlap(a, b):
    lo, hi = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2), torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    return (hi - lo).clamp_min(0).prod(-1)


def iou(a, b):
    i = overlap(a, b)
    return i / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - i)


@torch.no_grad()
def surroundings(p, z, seen, old, size, others):
    """Of each target: the common error of the predictions (2), company, edge, cover; p: predicted boxes, z: detections (where seen).

    The common error is the median over the targets that are seen and not new; company is their number, less one, over 8, at most 1. edge is
    the distance of the box's centre from the nearer side of the image, in half widths of the box, within ±1. cover is the largest share of
    the box that the detection of another target covers whose foot is lower.
    """
    shift = torch.where((seen & old)[..., None], z[..., :2] - p[..., :2], float("nan"))
    common = torch.nan_to_num(torch.nanquantile(shift, 0.5, 1, keepdim=True))
    count = (seen & old).sum(1, keepdim=True).float()
    scene = (common / p[..., 3:4]).clamp(-STEP, STEP) * (count > 1)[..., None]
    company = ((count - 1).clamp(0, 8) / 8).expand(p.shape[:2])
    edge = (torch.minimum(p[..., 0], size[:, :1] - p[..., 0]) / p[..., 2]).clamp(-2, 2) / 2
    foot = p[..., 1] + p[..., 3] / 2
    front = others & seen[:, None] & ((z[..., 1] + z[..., 3] / 2)[:, None] > foot[:, :, None])
    cover = (overlap(p[:, :, None], z[:, None]) / p[..., 2:].prod(-1)[:, :, None] * front).amax(-1)
    return torch.cat([scene, torch.stack([company, edge, cover], -1)], -1)


def play(net, scene, size, watch=None):
    """Runs the net over scenes -> p, b, out [T, S, N, …], active, new [T, S, N]: predicted and corrected boxes, the net's outputs.
    watch(x) gets the net's inputs [S N, 16] of each frame."""
    steps, s, n = scene["seen"].shape
    h = torch.zeros(s * n, net.hidden)
    b, delta = scene["z"][0], torch.zeros(s, n, 4)
    seen = scene["seen"] > 0.5
    active = seen.cumsum(0) > 0
    new = active & torch.cat([torch.ones_like(active[:1]), ~active[:-1]])
    running = active & ~new
    gap = torch.zeros_like(scene["seen"])  # frames unseen directly before this one
    for t in range(1, steps):
        gap[t] = torch.where(seen[t - 1] | ~active[t - 1], 0.0, gap[t - 1] + 1)
    score = scene["seen"] * (1 - torch.sqrt((1 - scene["score"]).clamp(0, 1)))
    known = torch.stack([scene["seen"], score, gap.clamp_max(LONG) / LONG], -1)
    others = ~torch.eye(n, dtype=bool)
    seen4, running4, active4 = seen[..., None], running[..., None], active[..., None]
    ps, bs, outs = [], [], []
    for t in range(steps):
        z = scene["z"][t]
        p = torch.where(running4[t], plus(b, delta), z)
        e = torch.where(seen4[t], minus(z, p).clamp(-STEP, STEP), 0.0)
        x = torch.cat([e, torch.where(running4[t], delta, 0.0), known[t], surroundings(p.detach(), z, seen[t], running[t], size, others)], -1)
        x = (x * active4[t]).flatten(0, 1)
        if watch:
            watch(x)
        out, h2 = net(x, h)
        h = h2 * active[t].view(-1, 1)
        out = out.view(s, n, -1)
        b = torch.where(active4[t], plus(p, out[..., :4]), z)
        b = torch.cat([b[..., :2].clamp(-4000, 6000), b[..., 2:].clamp(2, 4000)], -1)  # one that has run away teaches nothing
        delta = out[..., 4:8].clamp(-STEP, STEP)
        ps.append(p)
        bs.append(b)
        outs.append(out)
    return torch.stack(ps), torch.stack(bs), torch.stack(outs), active, new


def losses(net, scene, size):
    """Prediction (negative log-likelihood, Laplace), update (mean absolute error), existence (cross-entropy)."""
    p, b, out, active, new = play(net, scene, size)
    exists = (scene["exists"] > 0.5) & active
    known = (active & ~new & (exists | (scene["seen"] > 0.5)))[1:]
    mean = lambda v, mask: (v * mask).sum() / mask.sum().clamp_min(1)
    far, ls = minus(scene["z"], p)[1:].clamp(-3, 3).abs(), out[:-1, ..., 8:12].clamp(-6, 2)
    right = exists & (iou(b.detach(), scene["truth"]) >= 0.5)
    return {"prediction": mean((far * torch.exp(-ls) + ls).sum(-1), known),
            "update": mean(minus(scene["aim"], b).clamp(-3, 3).abs().sum(-1), exists),
            "exists": mean(nn.functional.binary_cross_entropy_with_logits(out[..., 12], right.float(), reduction="none"), active)}


def tensors(batch):
    scene, size = batch
    return {k: torch.from_numpy(v) for k, v in scene.items()}, torch.from_numpy(size)


def train(sequences, steps, seed, hidden, start=None, lr=4e-3, scenes_each=24, length=44, report=print):
    """start: a net to begin with. The weights are on the int8 grid in the last third of the steps, and in the result."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    fresh = start or Filter(hidden)
    net, grids = gridded(copy.deepcopy(fresh))
    average, its_grids = gridded(copy.deepcopy(fresh))
    maker = scenes.Maker(sequences)
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-2)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / 50) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * s / steps))))
    sums, t0 = {}, time.time()
    for step in range(steps):
        if step == steps * 2 // 3:
            for g in grids + its_grids:
                g.on = True
        with parametrize.cached():
            terms = losses(net, *tensors(maker.batch(rng, scenes_each, length)))
            loss = 0.3 * terms["prediction"] + 5 * terms["update"] + 2 * terms["exists"]
            opt.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        k = min(0.99, step / (step + 10))
        with torch.no_grad():
            for a, b in zip(average.parameters(), net.parameters()):
                a.lerp_(b, 1 - k)
        for name, v in terms.items():
            sums[name] = sums.get(name, 0) + v.item() / 100
        if step % 100 == 99:
            report(f"step {step + 1} " + " ".join(f"{n} {v:.4f}" for n, v in sums.items()) + f" {time.time() - t0:.0f} s", flush=True)
            sums = {}
    return plain(average)


def save(net, path, **about):
    torch.save({"state": net.state_dict(), "hidden": net.hidden, "features": FEATURES, "torch": str(torch.__version__), **about}, path)


def load(path):
    kept = torch.load(path)
    net = Filter(kept["hidden"])
    net.load_state_dict(kept["state"])
    return net.eval()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--out", type=Path, required=True, help="folder for model.pt")
    ap.add_argument("--without", nargs="*", default=[], help="training sequences to leave out")
    ap.add_argument("--hidden", type=int, default=64)
    ap.add_argument("--steps", type=int, default=1300)
    ap.add_argument("--start", help="model.pt to begin with")
    ap.add_argument("--rate", type=float, default=4e-3, help="of learning, at its highest")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(1)
    names = [n for n in data.TRAIN if n not in args.without]
    net = train([data.Sequence(args.data, n) for n in names], args.steps, args.seed, args.hidden,
                load(args.start) if args.start else None, args.rate)
    args.out.mkdir(parents=True, exist_ok=True)
    save(net, args.out / "model.pt", sequences=names, seed=args.seed, steps=args.steps)


if __name__ == "__main__":
    main()
