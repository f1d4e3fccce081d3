"""Random nets: the rows of the table. A net is a folder with net.json, weights.f32 and x.f32; ours/net.go states the order."""

import json
import pathlib

import numpy as np


def net(name, cell, inputs, hidden, steps, mode="step", two_way=False, classes=0):
    return dict(name=name, cell=cell, input=inputs, hidden=hidden, steps=steps, mode=mode, two_way=two_way, classes=classes)


# A pass of the streaming nets has so many steps that what a call of a peer from Python costs (microseconds) does not show.
NETS = [
    net("LSTM 6→32", "lstm", 6, 32, 4096),
    net("LSTM 6→64", "lstm", 6, 64, 2048),
    net("LSTM 32→128", "lstm", 32, 128, 1024),
    net("LSTM 64→256", "lstm", 64, 256, 512),
    net("LSTM 256→512", "lstm", 256, 512, 256),
    net("GRU 6→32", "gru", 6, 32, 4096),
    net("GRU 6→64", "gru", 6, 64, 2048),
    net("GRU 32→128", "gru", 32, 128, 1024),
    net("GRU 64→256", "gru", 64, 256, 512),
    net("LSTM 64→256, whole sequence of 100", "lstm", 64, 256, 100, mode="seq"),
    net("two-way LSTM 6→100×2, 60 steps + softmax", "lstm", 6, 100, 60, mode="seq", two_way=True, classes=14),
]


def folder_name(n):
    kind = ("bi" if n["two_way"] else "") + n["cell"]
    return f"{kind}-{n['input']}-{n['hidden']}-{n['mode']}"


def write(n, root, seed):
    rng = np.random.default_rng([seed, NETS.index(n)])
    d = pathlib.Path(root) / folder_name(n)
    d.mkdir(parents=True, exist_ok=True)
    gates = 3 if n["cell"] == "gru" else 4
    i, h, dirs = n["input"], n["hidden"], 2 if n["two_way"] else 1

    def uniform(count, fan):  # what PyTorch initialises with
        return rng.uniform(-1, 1, count) / np.sqrt(fan)

    w = []
    for _ in range(dirs):
        w += [uniform(gates * h * i, h), uniform(gates * h * h, h), uniform(gates * h, h)]
        if n["cell"] == "gru":
            w.append(uniform(gates * h, h))
    if n["classes"]:
        w += [8 * uniform(n["classes"] * dirs * h, dirs * h), uniform(n["classes"], dirs * h)]  # 8: probabilities that differ
    np.concatenate(w).astype("<f4").tofile(d / "weights.f32")
    rng.standard_normal(n["steps"] * i).clip(-3, 3).astype("<f4").tofile(d / "x.f32")
    (d / "net.json").write_text(json.dumps(n, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return d


class Net:
    """A net read back: dirs[k] has W, U, B and, for a GRU, BH, with gates i f g o or z r n; head is None or (W, B)."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.__dict__.update(json.loads((folder / "net.json").read_text(encoding="utf-8")))
        self.gates = 3 if self.cell == "gru" else 4
        w, at = np.fromfile(folder / "weights.f32", "<f4"), 0

        def take(*shape):
            nonlocal at
            size = int(np.prod(shape))
            at += size
            return w[at - size : at].reshape(shape)

        rows, h = self.gates * self.hidden, self.hidden
        self.dirs = []
        for _ in range(2 if self.two_way else 1):
            d = dict(W=take(rows, self.input), U=take(rows, h), B=take(rows))
            if self.cell == "gru":
                d["BH"] = take(rows)
            self.dirs.append(d)
        width = h * len(self.dirs)
        self.head = (take(self.classes, width), take(self.classes)) if self.classes else None
        self.width = self.classes or width
        if at != len(w):
            raise ValueError(f"{folder}: {len(w)} weights, want {at}")
        self.x = np.fromfile(folder / "x.f32", "<f4").reshape(self.steps, self.input)

    def reorder(self, a, order):
        """Rows of a by gate, in another order: a string of the gates' letters."""
        names = "ifgo" if self.cell == "lstm" else "zrn"
        return np.concatenate([np.split(a, self.gates)[names.index(g)] for g in order])
