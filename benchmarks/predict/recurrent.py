"""LSTM layers as cuDNN computes them: one product for all inputs, then a step a frame, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from benchmarks.predict import rates
from benchmarks.predict.ledger import Ledger

_GATES = 4


@contextmanager
def counted_lstm(ledger: Ledger) -> Iterator[None]:
    """Book calls of `torch.lstm`, forward and backward, instead of tracing what a CPU would do."""

    def book(x: Tensor, layer: int, hidden: int, directions: int, back: bool) -> None:
        items, steps = x.shape[:2]
        inputs = x.shape[2] if layer == 0 else directions * hidden
        rows = directions * _GATES * hidden
        rate = rates.BFLOAT16 if x.dtype == torch.bfloat16 else rates.FLOAT32
        frame = x.element_size() * items * steps  # bytes of a number of every frame
        given = frame * inputs + x.element_size() * inputs * rows  # inputs and weights
        gates, states = frame * rows, 2 * frame * directions * hidden
        products = 2 if back else 1  # gradients of inputs and of weights
        word = "backward" if back else "forward"
        read, written = (2 * gates + given, given) if back else (given, gates)
        seconds = products * 2 * items * steps * inputs * rows / rate
        name = f"LSTM {word} inputs {inputs} -> {rows}"
        ledger.add(name, "lstm", read, written, launches=products, arithmetic=seconds)
        # The product with the weights of the state: within the steps, its weights' gradient after them.
        each = max(rates.RECURRENT_STEP, 2 * items * hidden * rows / rate)
        after = 2 * items * steps * hidden * rows / rate if back else 0.0
        read, written = (gates + states, gates) if back else (gates, states)
        name = f"LSTM {word}, {steps} steps of {items} x {hidden} (serial)"
        ledger.add(name, "lstm", read, written, arithmetic=steps * each + after)

    class Lstm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, hidden, layers, directions, *weights):
            ctx.save_for_backward(x, *weights)
            ctx.sizes = hidden, layers, directions
            for layer in range(layers):
                book(x, layer, hidden, directions, False)
            return x.new_empty(*x.shape[:2], directions * hidden)

        @staticmethod
        def backward(ctx, gradient):
            x, *weights = ctx.saved_tensors
            hidden, layers, directions = ctx.sizes
            for layer in reversed(range(layers)):
                book(x, layer, hidden, directions, True)
            return torch.empty_like(x), None, None, None, *(torch.empty_like(w) for w in weights)

    def lstm(x, state, weights, biases, layers, dropout, training, bidirectional, batch_first):
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        directions = 2 if bidirectional else 1
        x = x if batch_first else x.transpose(0, 1)
        y = Lstm.apply(x, state[0].shape[-1], layers, directions, *weights)
        return (y if batch_first else y.transpose(0, 1)), *state

    with mock.patch.object(torch, "lstm", lstm), mock.patch.object(torch._VF, "lstm", lstm, create=True):
        yield
