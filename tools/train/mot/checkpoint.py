"""The authors' network, out of their weights, as the ONNX file that paper.py's net becomes.

    python tools/train/mot/checkpoint.py --weights ../shared/data/mot15/rnntracking/rnnTracker_r300_weights.npz --data ../shared/data/mot15 --out out/checkpoint

writes model.onnx, calib.npz and golden.npz: x [B, T, 11], what PyTorch answers to it y [B, T, 9], states zero before the first row.
"""
import argparse
from pathlib import Path

import numpy as np
import torch

import data
import export
import paper
import synth

LAYERS = {"i2h_pred": "i2h_Pred_L1", "h2h_pred": "h2h_Pred_L1", "state_xstar": "state_Xstar_t", "det_inp": "Det_Inp", "h2h_upd": "h2h_Upd_L1",
          "state_x": "state_X_t", "ter_ex": "ter_ex", "ter_lab": "ter_lab", "ter_out": "ter_out"}


def read(path):
    weights = np.load(path)
    net = paper.Motion(weights["h2h_Pred_L1.b"].shape[0])
    net.load_state_dict({f"{ours}.{part}": torch.from_numpy(weights[f"{theirs}.{short}"].astype(np.float32))
                         for ours, theirs in LAYERS.items() for part, short in (("weight", "W"), ("bias", "b"))})
    return net.eval()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weights", type=Path, required=True)
    ap.add_argument("--data", required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--out", type=Path, required=True)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    net = read(args.weights)
    stats = synth.Statistics([data.Sequence(args.data, n) for n in data.TRAIN])
    export.export_motion(net, stats, np.random.default_rng(1000), args.out)
    x, y = export.motion_rows(net, stats, np.random.default_rng(2000), 32, 20)
    np.savez_compressed(args.out / "golden.npz", x=x, y=y)


if __name__ == "__main__":
    main()
