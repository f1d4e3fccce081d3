"""Two published data sets in the layout of fit.py.

    python tools/train/gesture/to_layout.py mobrobot ../shared/data/mobrobot_gestures   out/mobrobot
    python tools/train/gesture/to_layout.py finger   ../shared/data/mobrobot_gestures   out/finger
    python tools/train/gesture/to_layout.py digits   ../shared/data/android_imu_digits out/digits
"""
import argparse
import csv
import json
from pathlib import Path

import numpy as np

MOBROBOT = ["aWx", "aWy", "aWz", "gWx", "gWz", "aFx", "aFy", "aFz", "gFx", "gFz"]


# Its finger accelerometer, MMA7260Q at +-1.5 g: 1.65 V at rest and 0.8 V/g (data sheet), read with 10 bits of 5 V.
FINGER = {"aFx": "ax", "aFy": "ay", "aFz": "az"}
ZERO, GAIN = 1.65 / 5 * 1024, 9.80665 / (0.8 / 5 * 1024)


def write(out, about, recordings, marks):
    """recordings: {file: rows}; marks: (file, first row, end row, label, subject)."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "dataset.json").write_text(json.dumps(about, indent=1) + "\n")
    for name, x in recordings.items():
        np.savetxt(out / name, x, "%.7g", ",", header=",".join(about["channels"]), comments="")
    with open(out / "labels.csv", "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["file", "start", "end", "label", "subject"])
        w.writerows((name, a / about["rate"], b / about["rate"], label, subject) for name, a, b, label, subject in marks)


def mobrobot(root, out):
    """All ten channels, in counts of the converter."""
    channels = {"channels": MOBROBOT, "units": ["counts"] * 10, "sensors": [MOBROBOT[:3], MOBROBOT[5:8]]}
    recordings(root, out, channels, lambda x: x[:, :10])


def finger(root, out):
    """The accelerometer on the finger, in m/s2."""
    columns, names = [MOBROBOT.index(c) for c in FINGER], list(FINGER.values())
    recordings(root, out, {"channels": names, "units": ["m/s2"] * 3, "sensors": [names]}, lambda x: (x[:, columns] - ZERO) * GAIN)


def recordings(root, out, channels, values):
    about = {"name": "mobrobot_gestures", "source": "Stancic, Music, Grujic 2017", "licence": "CC BY-NC-SA 4.0", **channels,
             "rate": 62.5, "margin": 6 / 62.5}
    rows_of = {f.name: values(np.loadtxt(f, delimiter=",")) for f in sorted((root / "orig").glob("*.csv"))}
    with open(root / "segments.csv") as f:
        rows = list(csv.reader(f))[1:]
    marks = [(f"subject{r[0]}_measurement{r[1]}.csv", int(r[3]), int(r[4]), f"G{r[2]}", r[0]) for r in rows]
    write(out, about, rows_of, marks)


def digits(root, out):
    """One user. The stored split, first 35 of each digit and last 15, becomes two subjects: "train" and "test"."""
    z = np.load(root / "imu9.npz")
    names = json.loads((root / "imu9.json").read_text())
    about = {
        "name": "android_imu_digits", "source": "Cai Jiechao 2025", "licence": "MIT", "channels": names["channels"], "rate": 52,
        "units": ["m/s2"] * 3 + ["rad/s"] * 3 + ["m/s2"] * 3, "sensors": [names["channels"]],
    }
    recordings, marks = {}, []
    for k, (a, b) in enumerate(zip(z["off"], z["off"][1:])):
        name = f"recording{k:03d}.csv"
        recordings[name] = z["x"][a:b]
        marks.append((name, 0, b - a, names["labels"][z["y"][k]], "test" if z["split"][k] else "train"))
    write(out, about, recordings, marks)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("set", choices=["mobrobot", "finger", "digits"])
    ap.add_argument("root", type=Path)
    ap.add_argument("out", type=Path)
    args = ap.parse_args()
    {"mobrobot": mobrobot, "finger": finger, "digits": digits}[args.set](args.root, args.out)


if __name__ == "__main__":
    main()
