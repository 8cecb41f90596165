"""Bidirectional LSTM layers with dropout after each, one call of the library a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchprim.networks.padding import padded


class DropoutLstm(nn.LSTM):
    """Bidirectional LSTM layers (Hochreiter and Schmidhuber 1997), dropout after each, the last one too.

    Parameters are those of an `nn.LSTM` of several layers. On a GPU the computation differs in two respects:
    - Dropout is torch's own. That of cuDNN keeps a state which waits for the device after each manual seed,
      and which is not part of torch's random state, so that a resumed training would differ.
    - Under autocast the layers run in its type. torch's own autocast runs cuDNN's LSTM in float16 whatever
      the type (as of torch 2.14), where gradients of the clustering loss, about 1e-9, are 0.

    Args:
        inputs: size of the input.
        hidden: cells of a layer in each direction.
        layers: their number.
        dropout: probability.

    Example:
        >>> import torch
        >>> from torchprim.networks.recurrent import DropoutLstm
        >>> DropoutLstm(20, 8, 2, 0.3)(torch.randn(4, 7, 20)).shape
        torch.Size([4, 7, 16])
    """

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(inputs, hidden, layers, batch_first=True, bidirectional=True)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output of the last layer: `(B, N, inputs)` -> `(B, N, 2 hidden)`."""
        if x.is_cuda and torch.is_autocast_enabled("cuda"):
            x = x.to(torch.get_autocast_dtype("cuda"))
            with torch.autocast("cuda", enabled=False):
                return self._layers(x)
        return self._layers(x)

    def _layers(self, x: Tensor) -> Tensor:
        start = x.new_zeros(2, len(x), self.hidden_size)
        directions = self.all_weights  # of both directions of the first layer, of the second and so on
        for forwards, backwards in zip(directions[::2], directions[1::2], strict=True):
            weights = [*forwards, *backwards]
            if x.is_cuda:
                x = padded(x)
                for matrix in (0, 4):  # of the input, in both directions
                    weights[matrix] = padded(weights[matrix])
                weights = in_one_block(weights, x.dtype)
            x, _, _ = torch.lstm(x, (start, start), weights, True, 1, 0.0, self.training, True, True)
            x = nn.functional.dropout(x, self.dropout, self.training)
        return x


def in_one_block(weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Convert the weights of a layer to one type, as views of the block of memory that cuDNN reads.

    Weights that lie elsewhere are copied at every call, with a warning.

    Args:
        weights: of a direction, then of the other: matrices of input and state, and their biases.
        dtype: of the result.

    Returns:
        the weights in the same order; in memory, all matrices come before all biases.

    Example:
        >>> import torch
        >>> from torchprim.networks.recurrent import in_one_block
        >>> a, b = in_one_block([torch.ones(3), torch.zeros(2, 2)], torch.float64)
        >>> a.storage_offset(), b.storage_offset()
        (4, 0)
    """
    order = sorted(range(len(weights)), key=lambda i: (weights[i].dim() == 1, i))
    block = torch.cat([weights[i].flatten() for i in order]).to(dtype)
    parts = dict(zip(order, block.split([weights[i].numel() for i in order]), strict=True))
    return [parts[i].view_as(weight) for i, weight in enumerate(weights)]
