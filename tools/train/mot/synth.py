"""Sequences in the manner of Milan et al. 2017: tracks drawn from the statistics of the training sequences' ground truth, with births,
deaths, misses and false detections. Boxes are cx, cy, w, h over the image's size, minus 0.5, so within [-0.5, 0.5]."""
import numpy as np


def normalised(boxes, seq):
    return boxes / [seq.width, seq.height, seq.width, seq.height] - 0.5


class Statistics:
    """Mean and deviation of start states, velocities and accelerations a frame, for each sequence."""

    def __init__(self, sequences):
        self.each = []
        self.real = []
        for seq in sequences:
            starts, speeds, accelerations = [], [], []
            for rows in seq.tracks().values():
                x = normalised(rows[:, 1:], seq)
                if len(x) < 5 or rows[-1, 0] - rows[0, 0] + 1 != len(rows):
                    continue
                self.real.append(x)
                starts.append(x[0])
                speeds.append((x[-1] - x[0]) / (len(x) - 1))
                smooth = np.stack([np.convolve(c, np.ones(5) / 5, "valid") for c in x.T], 1)
                if len(smooth) > 2:
                    accelerations.append(np.diff(smooth, 2, axis=0))
            a = np.concatenate(accelerations)
            self.each.append((np.mean(starts, 0), np.std(starts, 0), np.mean(speeds, 0), np.std(speeds, 0), np.std(a, 0)))

    def track(self, rng, length):
        """Constant velocity with white acceleration, at least half of it inside the image."""
        mean, spread, speed, speeds, acceleration = self.each[rng.integers(len(self.each))]
        while True:
            x0 = mean + spread * rng.standard_normal(4)
            if x0[2] < -0.495 or x0[3] < -0.49:
                continue
            v = speed + speeds * rng.standard_normal(4) + np.cumsum(acceleration * rng.standard_normal((length, 4)), 0)
            x = x0 + np.cumsum(v, 0) - v[0]
            inside = (np.abs(x[:, :2]) < 0.5).all(1) & (x[:, 2:] > -0.5).all(1)
            if inside.mean() >= 0.5:
                return x

    def real_track(self, rng, length):
        """A piece of a ground-truth track, mirrored and scaled in size and time at random; shorter ones are continued by their ends' velocity."""
        x = self.real[rng.integers(len(self.real))]
        stretch = rng.uniform(0.5, 2)
        n = max(2, int(len(x) / stretch))
        grid = np.linspace(0, len(x) - 1, n)
        x = np.stack([np.interp(grid, np.arange(len(x)), c) for c in x.T], 1)
        at = rng.integers(max(1, n - length + 1))
        x = x[at:at + length]
        if len(x) < length:
            k = min(len(x) - 1, 5)
            v = (x[-1] - x[-1 - k]) / k
            x = np.concatenate([x, x[-1] + v * np.arange(1, length - len(x) + 1)[:, None]])
        if rng.random() < 0.5:
            x = x * [-1, 1, 1, 1]
        size = rng.uniform(0.7, 1.4)
        x = np.concatenate([x[:, :2], (x[:, 2:] + 0.5) * size - 0.5], 1)
        x[:, :2] += rng.uniform(-0.15, 0.15, 2)
        return x


def batch(rng, stats, count, length, noise=(0.11, 0.05, 0.2, 0.1), miss=0.15, false=0.1, real=0.5):
    """Training data of the motion net for one target each: truth [T, B, 4], exists [T, B], z [T, B, 4], a [T, B, 2]. noise is how far
    the detections of the training sequences deviate, in widths and heights of the box."""
    truth, exists = np.zeros((length, count, 4)), np.zeros((length, count))
    z, a = np.zeros((length, count, 4)), np.zeros((length, count, 2))
    for b in range(count):
        truth[:, b] = stats.real_track(rng, length) if rng.random() < real else stats.track(rng, length)
        death = length if rng.random() < 0.5 else rng.integers(0, length + 1)  # 0: a false detection
        exists[:death, b] = 1
        level = rng.uniform(0.2, 1) * np.array(noise) * np.maximum(truth[:, b, [2, 3, 2, 3]] + 0.5, 0.01)
        z[:, b] = truth[:, b] + level * rng.standard_normal((length, 4))
        rate = rng.uniform(0, 2 * miss)
        unseen = rng.random(length) < rate
        unseen[0] = False
        if rng.random() < 0.3 and length > 4:  # an occlusion
            n = rng.integers(2, length // 2)
            at = rng.integers(1, length - n + 1)
            unseen[at:at + n] = True
        unseen |= (np.arange(length) >= death) & (rng.random(length) > false)
        z[unseen, b] = rng.uniform(-0.5, 0.5, (unseen.sum(), 4))
        sure = 1 - np.abs(0.002 * rng.standard_normal(length))
        a[:, b, 0] = np.where(unseen, 1 - sure, sure)
        a[:, b, 1] = 1 - a[:, b, 0]
    return [v.astype(np.float32) for v in (truth, exists, z, a)]
