"""Writes cases with what the suites have not: windows, normalisations, activations, projections, learned states, TorchScript. References in
float64. Made with PyTorch 2.2.2: python make.py, in this folder."""

import json
import os

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)


def case(name, net, x, outputs, arch=None, script=False):
    os.makedirs(name, exist_ok=True)
    net.eval()
    for p in net.parameters():
        if p.dim() == 1:
            nn.init.uniform_(p, -0.5, 0.5)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.running_mean.uniform_(-0.5, 0.5)
            m.running_var.uniform_(0.5, 2)
    if script:
        torch.jit.script(net).save(f"{name}/script.pt")
    else:
        torch.save(net.state_dict(), f"{name}/state_dict.pt")
    with torch.no_grad():
        y = net.double()(x.double())
    y = y if isinstance(y, tuple) else (y,)
    meta = {"id": name, "inputs": ["x"], "outputs": outputs, "sets": [{"k": 0}]}
    json.dump(meta, open(f"{name}/meta.json", "w"))
    np.save(f"{name}/set0_in_x.npy", x.numpy())
    for k, v in zip(outputs, y):
        np.save(f"{name}/set0_out64_{k}.npy", v.numpy())
    if arch:
        json.dump(arch, open(f"{name}/arch.json", "w"), indent=1)


class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(3, 6, 5, stride=2, padding=2)
        self.b = nn.Conv1d(6, 12, 3, padding="same", dilation=2, groups=3)
        self.bn = nn.BatchNorm1d(12, eps=1e-3)
        self.max, self.avg = nn.MaxPool1d(3, 2, padding=1, ceil_mode=True), nn.AvgPool1d(2, padding=1)
        self.ln = nn.LayerNorm(12)
        self.rnn = nn.LSTM(12, 4, batch_first=True, bidirectional=True)
        self.c = nn.Conv1d(8, 5, 1)

    def forward(self, x):
        y = torch.relu(self.a(x.transpose(1, 2)))
        y = self.avg(self.max(self.bn(self.b(y)))).transpose(1, 2)
        y = self.rnn(self.ln(y))[0]
        return torch.tanh(self.c(y.transpose(1, 2))).transpose(1, 2).mean(1)


case("windows", Windows(), torch.randn(2, 21, 3), ["y"], {"steps": 21, "layers": [
    {"type": "conv1d", "weights": "a", "stride": 2, "padding": 2}, {"type": "relu"},
    {"type": "conv1d", "weights": "b", "padding": "same", "dilation": 2, "groups": 3}, {"type": "batchnorm1d", "weights": "bn", "eps": 1e-3},
    {"type": "maxpool1d", "kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, {"type": "avgpool1d", "kernel_size": 2, "padding": 1},
    {"type": "layer_norm", "weights": "ln"}, {"type": "lstm", "weights": "rnn"}, {"type": "conv1d", "weights": "c"}, {"type": "tanh"},
    {"type": "mean"}]})


class Activations(nn.Module):
    kinds = [nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Softsign(), nn.Hardsigmoid(), nn.ReLU6(), nn.Hardtanh(-0.5, 0.25),
             nn.LeakyReLU(0.2), nn.LeakyReLU(), nn.ELU(0.5), nn.ELU(), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Hardswish(), nn.Mish(),
             nn.LogSoftmax(-1)]

    def __init__(self):
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(4, 4) for _ in self.kinds])
        self.one, self.each = nn.PReLU(), nn.PReLU(4)

    def forward(self, x):
        for fc, f in zip(self.fc, self.kinds):
            x = f(3 * fc(x))
        x = self.one(x + 1.5) - 0.25
        return self.each(x.transpose(1, 2)).transpose(1, 2)


names = ["relu", "sigmoid", "tanh", "softplus", "softsign", "hardsigmoid", "relu6", ("hardtanh", {"min_val": -0.5, "max_val": 0.25}),
         ("leaky_relu", {"negative_slope": 0.2}), "leaky_relu", ("elu", {"alpha": 0.5}), "elu", "selu", "gelu", ("gelu", {"approximate": "tanh"}),
         "silu", "hardswish", "mish", "log_softmax"]
layers = []
for i, n in enumerate(names):
    kind, more = n if isinstance(n, tuple) else (n, {})
    layers += [{"type": "linear", "weights": f"fc.{i}"}, {"type": "affine", "scale": [3]}, {"type": kind, **more}]
layers += [{"type": "affine", "shift": [1.5]}, {"type": "prelu", "weights": "one"}, {"type": "affine", "shift": [-0.25]},
           {"type": "prelu", "weights": "each"}]
case("activations", Activations(), torch.randn(3, 5, 4), ["y"], {"layers": layers})


class Projected(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 6, num_layers=2, proj_size=4, batch_first=True)
        self.h0, self.c0 = nn.Parameter(torch.randn(2, 1, 4)), nn.Parameter(torch.randn(2, 1, 6))

    def forward(self, x):
        n = x.shape[0]
        y, (h, c) = self.rnn(x, (self.h0.expand(-1, n, -1).contiguous(), self.c0.expand(-1, n, -1).contiguous()))
        return y, h, c


case("projected", Projected(), torch.randn(2, 7, 3), ["y", "hn", "cn"])


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(3, 6, 4, stride=2), nn.BatchNorm1d(6), nn.ELU(0.5), nn.MaxPool1d(2), nn.Dropout(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(30, 5), nn.LeakyReLU(0.3), nn.Linear(5, 3), nn.Softmax(dim=-1))

    def forward(self, x):
        return self.head(self.conv(x.transpose(1, 2)))


case("scripted", Scripted(), torch.randn(2, 22, 3), ["y"], script=True)


class Guessed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.rnn, self.fc = nn.Conv1d(3, 4, 3, padding=1), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        y = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.fc(self.rnn(y)[0][:, -1]).softmax(-1)


case("guessed", Guessed(), torch.randn(2, 9, 3), ["y"])
