"""Writes the quantised state dicts of the tests, beside those of the networks they are made from. Made with PyTorch 2.2.2."""

import torch
from torch import nn
from torch.quantization import per_channel_dynamic_qconfig, quantize_dynamic

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, cell, **kw):
        super().__init__()
        self.rnn = cell(3, 4, **kw)
        self.fc = nn.Linear(8 if kw.get("bidirectional") else 4, 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.LSTMCell(3, 4), nn.GRUCell(4, 4), nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.fc(self.b(self.a(x)[0]))


kinds = {nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.Linear}
lstm = Net(nn.LSTM, num_layers=2, bidirectional=True)
gru = Net(nn.GRU, num_layers=2)
cells = Cells()
for name, net in {"lstm": lstm, "gru": gru, "cells": cells}.items():
    torch.save(net.state_dict(), f"{name}.pt")
torch.save(quantize_dynamic(lstm, kinds).state_dict(), "lstm_int8.pt")
torch.save(quantize_dynamic(gru, {k: per_channel_dynamic_qconfig for k in kinds}).state_dict(), "gru_channels.pt")
torch.save(quantize_dynamic(gru, kinds, dtype=torch.float16).state_dict(), "gru_float16.pt")
torch.save(quantize_dynamic(cells, kinds).state_dict(), "cells_int8.pt")
torch.jit.script(quantize_dynamic(cells, kinds)).save("cells_script.pt")
