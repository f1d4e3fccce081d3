"""The networks."""
import torch
from torch import nn


class PeepholeLoop(torch.autograd.Function):
    """LSTM recurrence with peepholes (Gers & Schmidhuber 2000, Graves 2013), both directions in one batch.

    z: [T, D, B, 4H] input products with bias, gates in ONNX order i, o, f, c; r: [D, H, 4H]; p: [D, 3, H], order i, o, f.
      i = s(zi + pi c')   f = s(zf + pf c')   c = f c' + i tanh(zc)   o = s(zo + po c)   h = o tanh(c)
    The backward pass is written out: it is several times faster than autograd over T small steps.
    """

    @staticmethod
    def forward(ctx, z, r, p):
        steps, d, b, h4 = z.shape
        n = h4 // 4
        gates, cells, hid = torch.empty_like(z), z.new_zeros(steps + 1, d, b, n), z.new_zeros(steps + 1, d, b, n)
        pi, po, pf = (p[:, k].unsqueeze(1) for k in range(3))
        for t in range(steps):
            a = torch.baddbmm(z[t], hid[t], r)
            c0 = cells[t]
            g = gates[t]
            a[..., :n].addcmul_(pi, c0)
            a[..., 2 * n:3 * n].addcmul_(pf, c0)
            torch.sigmoid(a[..., :n], out=g[..., :n])
            torch.sigmoid(a[..., 2 * n:3 * n], out=g[..., 2 * n:3 * n])
            torch.tanh(a[..., 3 * n:], out=g[..., 3 * n:])
            c = torch.mul(g[..., 2 * n:3 * n], c0, out=cells[t + 1])
            c.addcmul_(g[..., :n], g[..., 3 * n:])
            a[..., n:2 * n].addcmul_(po, c)
            torch.sigmoid(a[..., n:2 * n], out=g[..., n:2 * n])
            torch.mul(g[..., n:2 * n], torch.tanh(c), out=hid[t + 1])
        ctx.save_for_backward(r, p, gates, cells, hid)
        return hid[1:].clone()

    @staticmethod
    def backward(ctx, dhid):
        r, p, gates, cells, hid = ctx.saved_tensors
        steps, d, b, h4 = gates.shape
        n = h4 // 4
        pi, po, pf = (p[:, k].unsqueeze(1) for k in range(3))
        rt = r.transpose(1, 2).contiguous()
        tc = torch.tanh(cells[1:])
        i, o, f, g = gates.split(n, -1)
        ds = gates * (1 - gates)
        dsi, dso, dsf = ds[..., :n] * g, ds[..., n:2 * n] * tc, ds[..., 2 * n:3 * n] * cells[:-1]
        dg = i * (1 - g * g)
        dct = o * (1 - tc * tc)
        dz = torch.empty_like(gates)
        dh, dc = torch.zeros_like(hid[0]), torch.zeros_like(hid[0])
        for t in range(steps - 1, -1, -1):
            dh = dh + dhid[t]
            q = dz[t]
            torch.mul(dh, dso[t], out=q[..., n:2 * n])
            dc = torch.addcmul(dc, dh, dct[t]).addcmul_(q[..., n:2 * n], po)
            torch.mul(dc, dsi[t], out=q[..., :n])
            torch.mul(dc, dsf[t], out=q[..., 2 * n:3 * n])
            torch.mul(dc, dg[t], out=q[..., 3 * n:])
            dc = (dc * f[t]).addcmul_(q[..., :n], pi).addcmul_(q[..., 2 * n:3 * n], pf)
            dh = torch.bmm(q, rt)
        flat = lambda v: v.transpose(0, 1).reshape(d, steps * b, -1)
        dr = torch.bmm(flat(hid[:-1]).transpose(1, 2), flat(dz))
        dp = torch.stack([(dz[..., :n] * cells[:-1]).sum((0, 2)), (dz[..., n:2 * n] * cells[1:]).sum((0, 2)),
                          (dz[..., 2 * n:3 * n] * cells[:-1]).sum((0, 2))], 1)
        return dz, dr, dp


class BLSTM(nn.Module):
    """Two-way LSTM with peepholes and a softmax at every step; the gesture is the softmax averaged over time.

    Lefebvre, Berlemont, Mamalet, Garcia: BLSTM-RNN based 3D gesture classification, ICANN 2013.
    w: [2, 4H, I], r: [2, 4H, H], b: [2, 4H], p: [2, 3, H], in the layout of the ONNX operator LSTM.
    """

    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.hidden = hidden
        u = hidden ** -0.5
        self.w = nn.Parameter(torch.empty(2, 4 * hidden, inputs).uniform_(-u, u))
        self.r = nn.Parameter(torch.empty(2, 4 * hidden, hidden).uniform_(-u, u))
        self.b = nn.Parameter(torch.zeros(2, 4 * hidden))
        self.p = nn.Parameter(torch.empty(2, 3, hidden).uniform_(-0.1, 0.1))
        self.out = nn.Linear(2 * hidden, classes)
        with torch.no_grad():
            self.b[:, 2 * hidden:3 * hidden] = 1  # forget gate open

    def forward(self, x, lengths, drop=0.0):
        """x: [T, B, I] padded at the end -> logits [T, B, classes]."""
        steps = x.shape[0]
        t = torch.arange(steps)[:, None]
        back = torch.where(t < lengths, lengths - 1 - t, t)  # each sequence turned round within its length
        both = torch.stack([x, x.gather(0, back[..., None].expand_as(x))], 1)
        z = torch.einsum("tdbi,dgi->tdbg", both, self.w) + self.b[:, None]
        y = PeepholeLoop.apply(z, self.r.transpose(1, 2), self.p)
        f, b = y[:, 0], y[:, 1]
        y = torch.cat([f, b.gather(0, back[..., None].expand_as(b))], -1)
        return self.out(nn.functional.dropout(y, drop, self.training))


def turned(x, lengths):
    """Each sequence of a padded batch [T, B, …] turned round within its length."""
    t = torch.arange(len(x))[:, None]
    back = torch.where(t < lengths, lengths - 1 - t, t)
    return x.gather(0, back[..., None].expand_as(x))


class Gestures(nn.Module):
    """LSTM over a whole gesture, one way or two; softmax of its final states. backward: the one way is from the end to the beginning."""

    def __init__(self, inputs, hidden, classes, ways=1, backward=False):
        super().__init__()
        self.hidden, self.ways, self.backward = hidden, ways, backward
        self.lstm = nn.ModuleList(nn.LSTM(inputs, hidden) for _ in range(ways))
        self.out = nn.Linear(ways * hidden, classes)
        with torch.no_grad():
            for m in self.lstm:
                m.bias_hh_l0.zero_()
                m.bias_ih_l0.zero_()
                m.bias_ih_l0[hidden:2 * hidden] = 1  # forget gate open

    def forward(self, x, lengths, drop=0.0):
        """x: [T, B, I] padded at the end -> logits [B, classes]."""
        each = [turned(x, lengths)] if self.backward else [x, turned(x, lengths)][:self.ways]
        last = (lengths - 1, torch.arange(len(lengths)))
        return self.out(nn.functional.dropout(torch.cat([m(v)[0][last] for m, v in zip(self.lstm, each)], -1), drop, self.training))


def both_ways(forward, backward):
    """One net of two one-way ones; its logits are the mean of theirs."""
    net = Gestures(forward.lstm[0].input_size, forward.hidden, forward.out.out_features, ways=2)
    net.lstm = nn.ModuleList([forward.lstm[0], backward.lstm[0]])
    with torch.no_grad():
        net.out.weight.copy_(torch.cat([forward.out.weight, backward.out.weight], 1) / 2)
        net.out.bias.copy_((forward.out.bias + backward.out.bias) / 2)
    return net.eval()


class Following(nn.Module):
    """One-way LSTM, softmax over the gestures and "none" at every step."""

    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.hidden = hidden
        self.lstm = nn.LSTM(inputs, hidden)
        self.out = nn.Linear(hidden, classes + 1)

    def forward(self, x, state=None, drop=0.0):
        y, state = self.lstm(x, state)
        return self.out(nn.functional.dropout(y, drop, self.training)), state
