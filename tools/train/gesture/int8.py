"""What int8 inference (scheme w8a8) will answer: weights int8 symmetric by row, network input with scale CLIP/127,
hidden state with scale 1/127 where a product reads it; gates, cell and the carried state stay float."""
import torch

from data import CLIP


def rows(w):
    """Each row of w rounded to 255 levels."""
    s = w.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return torch.round(w / s) * s


def levels(x, limit):
    s = limit / 127
    return torch.clamp(torch.round(x / s), -127, 127) * s


def dense(h, linear):
    return levels(h, 1) @ rows(linear.weight).T + linear.bias


@torch.no_grad()
def blstm(net, x):
    """x: [T, 10] -> p [9]."""
    n = net.hidden
    x = levels(torch.from_numpy(x), float(CLIP))
    z = torch.einsum("tdi,dgi->tdg", torch.stack([x, x.flip(0)], 1), rows(net.w)) + net.b
    r = rows(net.r).transpose(1, 2)
    h, c, ys = torch.zeros(2, n), torch.zeros(2, n), []
    pi, po, pf = net.p.unbind(1)
    for t in range(len(x)):
        a = z[t] + torch.bmm(levels(h, 1)[:, None], r)[:, 0]
        i, o, f, g = a.split(n, -1)
        new = torch.sigmoid(f + pf * c) * c + torch.sigmoid(i + pi * c) * torch.tanh(g)
        h, c = torch.sigmoid(o + po * new) * torch.tanh(new), new
        ys.append(h)
    y = torch.stack(ys)
    y = torch.cat([y[:, 0], y[:, 1].flip(0)], -1)
    return torch.softmax(dense(y, net.out), -1).mean(0).numpy()


@torch.no_grad()
def stream(net, xs):
    """xs: list of [T, 10] -> list of [T, 10]."""
    steps = max(map(len, xs))
    y = torch.zeros(steps, len(xs), xs[0].shape[1])
    for k, x in enumerate(xs):
        y[:len(x), k] = torch.from_numpy(x)
    g = net.gru
    for layer in range(g.num_layers):
        w, r, bw, br = (getattr(g, f"{k}_l{layer}") for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        z = levels(y, float(CLIP) if layer == 0 else 1) @ rows(w).T + bw
        rt = rows(r).T
        h, hs = torch.zeros(len(xs), g.hidden_size), []
        for t in range(steps):
            u = levels(h, 1) @ rt + br
            zr, zz, zn = z[t].chunk(3, -1)
            ur, uz, un = u.chunk(3, -1)
            keep = torch.sigmoid(zz + uz)
            h = keep * h + (1 - keep) * torch.tanh(zn + torch.sigmoid(zr + ur) * un)
            hs.append(h)
        y = torch.stack(hs)
    p = torch.softmax(dense(y, net.out), -1).numpy()
    return [p[:len(x), k] for k, x in enumerate(xs)]
