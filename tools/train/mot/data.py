"""MOTChallenge 2015 text files: ground truth, detections, and how the sequences are dealt out."""
import configparser
import copy
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

TRAIN = ["TUD-Stadtmitte", "ETH-Bahnhof", "ADL-Rundle-6", "KITTI-13", "PETS09-S2L1"]
TEST = ["TUD-Campus", "ETH-Sunnyday", "ETH-Pedcross2", "ADL-Rundle-8", "Venice-2", "KITTI-17"]


class Sequence:
    """gt: rows frame, id, cx, cy, w, h of the boxes that count; det: rows frame, cx, cy, w, h, score; frames from 1."""

    def __init__(self, root, name, detections="det_frcnn"):
        root = Path(root)
        ini = configparser.ConfigParser()
        text = (root / "seqinfo" / f"{name}.ini").read_text()
        ini.read_string(text if text.lstrip().startswith("[") else "[Sequence]\n" + text)
        s = ini["Sequence"]
        self.name, self.length = name, int(s["seqLength"])
        self.width, self.height, self.rate = int(s["imWidth"]), int(s["imHeight"]), float(s["frameRate"])
        gt = np.loadtxt(root / "gt" / f"{name}.txt", delimiter=",", ndmin=2)
        gt = gt[gt[:, 6] != 0]
        self.gt = np.column_stack([gt[:, :2], centred(gt[:, 2:6])])
        det = np.loadtxt(root / detections / f"{name}.txt", delimiter=",", ndmin=2)
        self.det = np.column_stack([det[:, 0], centred(det[:, 2:6]), det[:, 6]])

    def backward(self):
        """The sequence played backward."""
        out = copy.copy(self)
        out.gt, out.det = self.gt.copy(), self.det.copy()
        for rows in (out.gt, out.det):
            rows[:, 0] = self.length + 1 - rows[:, 0]
        out.det = out.det[np.argsort(out.det[:, 0], kind="stable")]
        return out

    def tracks(self):
        """id -> rows frame, cx, cy, w, h in the order of frames."""
        out = {}
        for k in np.unique(self.gt[:, 1]):
            rows = self.gt[self.gt[:, 1] == k]
            out[int(k)] = rows[np.argsort(rows[:, 0])][:, [0, 2, 3, 4, 5]]
        return out

    def matched(self, least=0.5):
        """For each row of det the row of gt with which it has an overlap of at least `least`, one to one in each frame, or -1."""
        out = np.full(len(self.det), -1)
        for f in range(1, self.length + 1):
            d, g = np.flatnonzero(self.det[:, 0] == f), np.flatnonzero(self.gt[:, 0] == f)
            if not len(d) or not len(g):
                continue
            o = iou(self.det[d, 1:5], self.gt[g, 2:6])
            for i, j in zip(*linear_sum_assignment(-np.where(o >= least, o, 0))):
                if o[i, j] >= least:
                    out[d[i]] = g[j]
        return out


def centred(boxes):
    """left, top, width, height -> cx, cy, w, h"""
    return np.column_stack([boxes[:, :2] + boxes[:, 2:4] / 2, boxes[:, 2:4]])


def cornered(boxes):
    return np.column_stack([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, 2:4]])


def iou(a, b):
    """Overlaps [A, B] of boxes cx, cy, w, h."""
    lo = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], (b[:, :2] - b[:, 2:] / 2)[None])
    hi = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], (b[:, :2] + b[:, 2:] / 2)[None])
    inter = np.prod(np.maximum(hi - lo, 0), -1)
    return inter / (np.prod(a[:, 2:], -1)[:, None] + np.prod(b[:, 2:], -1)[None] - inter)


def write_detections(path, rows):
    """rows: frame, cx, cy, w, h, score"""
    with open(path, "w") as f:
        for r, c in zip(rows, cornered(rows[:, 1:5])):
            f.write(f"{int(r[0])},-1,{c[0]:.3f},{c[1]:.3f},{c[2]:.3f},{c[3]:.3f},{r[5]:.6f},-1,-1,-1\n")
