"""A remix stream as a dataset of torch, for anybody's training loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from torchprim import checks
from torchprim.bootstrap.batch import RemixBatch

Item = RemixBatch | tuple[Tensor, Tensor]


class RemixDataset(IterableDataset[Item]):
    """A stream's batches for `DataLoader(dataset, batch_size=None)`, Lightning or Accelerate.

    An item is a whole batch, made on the stream's device: no workers, no collation, no copy. An epoch goes on
    where the last one ended.

    Args:
        stream: iterates over batches without end, such as a `RemixStream`.
        steps: batches of an epoch; None for an endless one.
        pairs: whether an item is the pair of mixture `(B, C, T)` and stems `(B, K, C, T)`, see
            `RemixBatch.pair`, or a `RemixBatch`.

    Raises:
        ValueError: for a number of steps below 1.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.bootstrap.batch import make_batch
        >>> from torchprim.bootstrap.dataset import RemixDataset
        >>> batches = [make_batch(torch.randn(2, 5120), torch.randn(2, 5120), tp.Geometry())] * 3
        >>> loader = torch.utils.data.DataLoader(RemixDataset(batches, steps=2), batch_size=None)
        >>> [(mixture.shape, sources.shape) for mixture, sources in loader][0], len(loader)
        ((torch.Size([2, 1, 5120]), torch.Size([2, 2, 1, 5120])), 2)
    """

    def __init__(self, stream: Iterable[RemixBatch], steps: int | None = None, pairs: bool = True) -> None:
        if steps is not None:
            checks.integer(steps, "steps", 1)
        self.stream: Iterable[RemixBatch] = stream
        self.steps: int | None = steps
        self.pairs: bool = pairs

    def __iter__(self) -> Iterator[Item]:
        if get_worker_info() is not None:
            raise RuntimeError("batches are made on the stream's device: use a DataLoader with num_workers=0")
        for count, batch in enumerate(self.stream, 1):
            yield batch.pair() if self.pairs else batch
            if count == self.steps:
                return

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("an endless stream has no length; give steps")
        return self.steps
