"""From the recordings to a checkpoint, an ONNX file, calibration data and a report.

    python tools/train/gesture/train.py --data ../shared/data/mobrobot_gestures --preset blstm --out DIR
"""
import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import data as dataset
import export
import int8
import nets
from spotter import Spotter, score

TRAIN, VALIDATION, TEST = range(1, 15), range(12, 15), range(15, 21)

PRESETS = {
    "blstm": {"hidden": 100, "epochs": 60, "batch": 32, "lr": 3e-3, "decay": 1e-2, "drop": 0.3, "smooth": 0.05,
              "jitter": 6, "degrees": 10, "gain": 0.1, "amplitude": 0.25, "speed": 0.25, "noise": 0.05, "whole": 0.5, "ema": 0.995},
    "stream": {"hidden": 96, "layers": 1, "epochs": 45, "batch": 16, "lr": 3e-3, "decay": 1e-2, "drop": 0.3, "smooth": 0.05,
               "gestures": 9, "chunk": 400, "early": 0.15, "degrees": 10, "gain": 0.1, "amplitude": 0.25, "speed": 0.25, "ema": 0.995},
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


def optimiser(net, cfg, steps):
    opt = torch.optim.AdamW(net.parameters(), lr=cfg["lr"], weight_decay=cfg["decay"])
    warm = max(1, steps // 20)
    rate = lambda s: min(1, (s + 1) / warm) * 0.5 * (1 + math.cos(math.pi * s / steps))
    return opt, torch.optim.lr_scheduler.LambdaLR(opt, rate)


def step(net, loss, opt, sched, average):
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    opt.step()
    sched.step()
    average.update(net)


def pad(xs):
    lengths = torch.tensor([len(x) for x in xs])
    x = torch.zeros(int(lengths.max()), len(xs), xs[0].shape[1])
    for k, v in enumerate(xs):
        x[:len(v), k] = torch.from_numpy(v)
    return x, lengths


def train_blstm(data, subjects, cfg, seed, watch=None):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    spans = data.clean(subjects)
    net = nets.BLSTM(hidden=cfg["hidden"])
    batches = math.ceil(len(spans) / cfg["batch"])
    opt, sched = optimiser(net, cfg, cfg["epochs"] * batches)
    average = Average(net, cfg["ema"])
    for epoch in range(cfg["epochs"]):
        t0, total = time.time(), 0.0
        net.train()
        for part in np.array_split(rng.permutation(len(spans)), batches):
            xs = []
            for k in part:
                raw = dataset.jittered(rng, data, spans[k], cfg["jitter"])
                raw = dataset.Wearer(rng, cfg["degrees"], cfg["gain"])(raw)
                xs.append(dataset.normalise_segment(dataset.augment(rng, raw, cfg["amplitude"], cfg["speed"])))
            x, lengths = pad(xs)
            y = torch.tensor([spans[k][2] for k in part])
            logits = net(x, lengths, cfg["drop"], cfg["noise"])
            mask = (torch.arange(len(x))[:, None] < lengths).float()
            ce = nn.functional.cross_entropy(logits.flatten(0, 1), y.repeat(len(x)), reduction="none", label_smoothing=cfg["smooth"])
            each = ((ce.view_as(mask) * mask).sum(0) / lengths).mean()
            mean = (torch.softmax(logits, -1) * mask[..., None]).sum(0) / lengths[:, None]
            whole = nn.functional.nll_loss(torch.log(mean + 1e-6), y)
            loss = (1 - cfg["whole"]) * each + cfg["whole"] * whole
            step(net, loss, opt, sched, average)
            total += loss.item()
        if epoch % 10 == 9 or epoch == cfg["epochs"] - 1:
            note = f"accuracy {accuracy(segment_probabilities(average.net, watch[0]), watch[1]):.4f}" if watch else ""
            print(f"epoch {epoch + 1} loss {total / batches:.4f} {time.time() - t0:.1f} s {note}", flush=True)
    return average.net.eval()


def segments(data, subjects):
    spans = data.of(subjects)
    return [dataset.normalise_segment(data.recordings[s[:2]][s[3]:s[4]]) for s in spans], np.array([s[2] for s in spans])


@torch.no_grad()
def segment_probabilities(net, xs):
    net.eval()
    out = []
    for k in range(0, len(xs), 64):
        x, lengths = pad(xs[k:k + 64])
        p = torch.softmax(net(x, lengths), -1) * (torch.arange(len(x))[:, None] < lengths)[..., None]
        out.append(p.sum(0) / lengths[:, None])
    return torch.cat(out).numpy()


def accuracy(p, y):
    return float((p.argmax(1) == y).mean())


def train_stream(data, subjects, cfg, seed, spot, watch=None):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    spans = {s: data.clean([s]) for s in subjects}
    rest = dataset.rests(data, subjects)
    net = nets.Stream(hidden=cfg["hidden"], layers=cfg["layers"], drop=cfg["drop"])
    batches = math.ceil(sum(map(len, spans.values())) / (cfg["batch"] * cfg["gestures"]))
    rows = cfg["gestures"] * 185  # a stream's usual length; longer ones are cut
    opt, sched = optimiser(net, cfg, cfg["epochs"] * batches * math.ceil(rows / cfg["chunk"]))
    average = Average(net, cfg["ema"])
    for epoch in range(cfg["epochs"]):
        t0, total, n = time.time(), 0.0, 0
        net.train()
        for _ in range(batches):
            raws = np.zeros((cfg["batch"], rows, 10), np.float32)
            y, w = np.zeros((cfg["batch"], rows), int), np.zeros((cfg["batch"], rows), np.float32)
            for k in range(cfg["batch"]):
                s = subjects[rng.integers(len(subjects))]
                raw, lab, wt = dataset.synthetic_stream(rng, spans[s], data, rest[s], cfg, spot.delay)
                m = min(rows, len(raw))
                raws[k, :m], raws[k, m:], y[k, :m], w[k, :m] = raw[:m], raw[m - 1], lab[:m], wt[:m]
            x = torch.from_numpy(dataset.normalise_stream(raws, spot.alpha)).transpose(0, 1).contiguous()
            y, w = torch.from_numpy(y).t(), torch.from_numpy(w).t()
            h = None
            for a in range(0, rows, cfg["chunk"]):
                yc, wc = y[a:a + cfg["chunk"]].flatten(), w[a:a + cfg["chunk"]].flatten()
                logits, h = net(x[a:a + cfg["chunk"]], h, cfg["drop"])
                h = h.detach()
                ce = nn.functional.cross_entropy(logits.flatten(0, 1), yc, reduction="none", label_smoothing=cfg["smooth"])
                loss = (ce * wc).sum() / wc.sum().clamp_min(1)
                step(net, loss, opt, sched, average)
                total, n = total + loss.item(), n + 1
        if epoch % 10 == 9 or epoch == cfg["epochs"] - 1:
            note = ""
            if watch:
                xs, truths = zip(*watch)
                r = score([(spot.events(p), t) for p, t in zip(stream_probabilities(average.net, xs), truths)])
                note = f"right {r['right_rate']:.4f} false {r['false_rate']:.4f}"
            print(f"epoch {epoch + 1} loss {total / n:.4f} {time.time() - t0:.1f} s {note}", flush=True)
    return average.net.eval()


@torch.no_grad()
def stream_probabilities(net, xs):
    """Whole recordings, state zero before the first row."""
    net.eval()
    x, _ = pad(xs)
    p = torch.softmax(net(x)[0], -1).numpy()
    return [p[:len(v), k] for k, v in enumerate(xs)]


def streams(data, subjects, spot):
    return [(dataset.normalise_stream(raw, spot.alpha), data.truth(key)) for key, raw in sorted(data.recordings.items()) if key[0] in subjects]


def shuffled(rng, data, key):
    """A recording cut in the middle of its rests and put together in random order: levels joined by straight lines."""
    raw, truth = data.recordings[key].astype(np.float64), data.truth(key)
    cuts = [0] + [(a[2] + b[1]) // 2 for a, b in zip(truth, truth[1:])] + [len(raw)]
    order = rng.permutation(len(truth))
    out, moved, at, level = [], [], 0, None
    for k in order:
        a, b = cuts[k], cuts[k + 1]
        c, first, end = truth[k]
        piece = raw[a:b]
        if level is not None:
            n = max(1, first - a)  # the jump at the joint fades until the gesture begins
            fade = np.clip(1 - np.arange(len(piece)) / n, 0, 1)[:, None]
            piece = piece + fade * (level - piece[:4].mean(0))
        out.append(piece)
        moved.append((c, at + first - a, at + end - a))
        at += len(piece)
        level = piece[-4:].mean(0)
    return np.concatenate(out).astype(np.float32), moved


def report_blstm(net, data, subjects, onnx_path, out):
    xs, y = segments(data, subjects)
    p = segment_probabilities(net, xs)
    q = np.stack([int8.blstm(net, x) for x in xs])
    np.savez_compressed(out / "test_x.npz", **{f"x{k}": x for k, x in enumerate(xs)})
    np.save(out / "test_p.npy", p)
    np.save(out / "test_y.npy", y)
    confusion = np.zeros((9, 9), int)
    np.add.at(confusion, (y, p.argmax(1)), 1)
    return {
        "gestures": len(y), "accuracy": accuracy(p, y), "wrong": int((p.argmax(1) != y).sum()),
        "by_subject": {str(s): accuracy(p[m], y[m]) for s in subjects for m in [np.array([sp[0] == s for sp in data.of(subjects)])]},
        "int8_accuracy": accuracy(q, y), "int8_decisions_changed": int((q.argmax(1) != p.argmax(1)).sum()),
        "onnx_max_difference": export.check(onnx_path, xs, p), "confusion": confusion.tolist(),
    }


def report_stream(net, data, subjects, onnx_path, out, spot, seed):
    keys = [k for k in sorted(data.recordings) if k[0] in subjects]
    xs, truths = zip(*streams(data, subjects, spot))
    ps = stream_probabilities(net, xs)
    found = [spot.events(p) for p in ps]
    rng = np.random.default_rng(seed)
    mixed = [shuffled(rng, data, k) for k in keys]
    mixed_p = stream_probabilities(net, [dataset.normalise_stream(r, spot.alpha) for r, _ in mixed])
    q = [spot.events(p) for p in int8.stream(net, xs)]
    events = [{
        "file": f"subject{s}_measurement{m}.csv",
        "events": [{"label": dataset.LABELS[c], "first_row": a, "end_row": b, "confidence": v} for c, a, b, v in e],
        "truth": [{"label": dataset.LABELS[c], "first_row": a, "end_row": b} for c, a, b in t],
    } for (s, m), e, t in zip(keys, found, truths)]
    (out / "expected_events.json").write_text(json.dumps(events, indent=1))
    np.savez_compressed(out / "test_x.npz", **{f"subject{s}_measurement{m}": x for (s, m), x in zip(keys, xs)})
    np.savez_compressed(out / "test_p.npz", **{f"subject{s}_measurement{m}": p for (s, m), p in zip(keys, ps)})
    by_subject = {str(s): score([(e, t) for (k, _), e, t in zip(keys, found, truths) if k == s])["right_rate"] for s in subjects}
    return {
        "recordings": len(keys), "events": score(zip(found, truths)),
        "events_order_shuffled": score([(spot.events(p), t) for p, (_, t) in zip(mixed_p, mixed)]),
        "events_int8": score(zip(q, truths)),
        "int8_label_sequences_changed": sum([e[0] for e in a] != [e[0] for e in b] for a, b in zip(found, q)),
        "right_by_subject": by_subject, "onnx_max_difference": export.check(onnx_path, xs, ps),
    }


def as_text(report):
    lines = []
    for k, v in report.items():
        if k == "confusion":
            lines += ["confusion (row: truth, column: answer)"] + [" ".join(f"{n:4d}" for n in row) for row in v]
        elif isinstance(v, dict):
            lines += [f"{k}:"] + [f"  {a}: {b:.4f}" if isinstance(b, float) else f"  {a}: {b}" for a, b in v.items()]
        else:
            lines.append(f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}")
    return "\n".join(lines) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default="../shared/data/mobrobot_gestures")
    ap.add_argument("--preset", choices=PRESETS, required=True)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--validate", action="store_true", help="train on subjects 1-11 and report on 12-14; for choosing")
    ap.add_argument("--epochs", type=int)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    data = dataset.Data(args.data)
    cfg = dict(PRESETS[args.preset])
    if args.epochs:
        cfg["epochs"] = args.epochs
    fit = [s for s in TRAIN if not args.validate or s not in VALIDATION]
    judge = list(VALIDATION if args.validate else TEST)
    onnx_path, spot = args.out / "model.onnx", Spotter()
    if args.preset == "blstm":
        net = train_blstm(data, fit, cfg, args.seed, segments(data, judge) if args.validate else None)
        export.blstm(net, onnx_path)
        calibration = segments(data, fit)[0][::7]
        result = report_blstm(net, data, judge, onnx_path, args.out)
    else:
        net = train_stream(data, fit, cfg, args.seed, spot, streams(data, judge, spot) if args.validate else None)
        export.stream(net, onnx_path)
        calibration = [x for x, _ in streams(data, fit, spot)][::10]
        (args.out / "spotter.json").write_text(json.dumps(spot.params(), indent=1) + "\n")
        result = report_stream(net, data, judge, onnx_path, args.out, spot, args.seed)
    torch.save({"preset": args.preset, "config": cfg, "seed": args.seed, "subjects": fit, "state": net.state_dict()}, args.out / "model.pt")
    np.savez_compressed(args.out / "calib.npz", **{f"x{k}": x for k, x in enumerate(calibration)})
    result = {"preset": args.preset, "trained_on": fit, "judged_on": judge, "config": cfg, **result}
    (args.out / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "report.txt").write_text(as_text(result))
    print(as_text(result), end="")


if __name__ == "__main__":
    main()
