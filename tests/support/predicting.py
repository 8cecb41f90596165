"""Run as a program, without TRITON_INTERPRET: what the operators of small batches are predicted to move.

Prints name -> rows (name, kind, launches, bytes read, bytes written) as JSON.
"""

import json

import torch

from benchmarks.predict.trace import traced
from torchprim.kernels.clustering.loudest import values_at
from torchprim.kernels.clustering.soft_assignment import assign
from torchprim.kernels.hpss.hpss_mask import hpss_mask
from torchprim.kernels.salience.row_median import row_median

ITEMS, BINS, FRAMES, PEAKS = 4, 129, 256, 512


def plane(*, turned=False, dtype=torch.float32):
    shape = (ITEMS, FRAMES, BINS) if turned else (ITEMS, BINS, FRAMES)
    x = torch.empty(shape, device="cuda", dtype=dtype)
    return x.mT if turned else x


def index():
    return torch.empty(ITEMS, PEAKS, dtype=torch.int64, device="cuda")


def combined(x, *masks):
    return assign(masks, torch.ones(2, device="cuda"), torch.tensor(2.0, device="cuda"), x)


# name -> function that makes its tensors, and function of them
CASES = {
    "hpss_mask": (lambda: [plane()], lambda x: hpss_mask(x, 17, 17)),
    "hpss_mask, bins innermost": (lambda: [plane(turned=True)], lambda x: hpss_mask(x, 17, 17)),
    "hpss_mask, float16": (lambda: [plane()], lambda x: hpss_mask(x, 17, 17, dtype=torch.float16)),
    "row_median": (lambda: [plane()], row_median),
    "values_at": (lambda: [index(), plane(), plane()], lambda i, *masks: values_at(masks, i)),
    "assign": (lambda: [plane(), plane(), plane()], combined),
    "assign, float16": (lambda: [plane(), *(plane(dtype=torch.float16) for _ in range(2))], combined),
}


def rows(make, call):
    with torch.no_grad():
        with traced():
            tensors = make()
            call(*tensors)  # constant tables
        with traced() as ledger:
            call(*make())
    return [(r.name, r.kind, r.launches, r.read, r.written) for r in ledger.rows]


if __name__ == "__main__":
    print(json.dumps({name: rows(*case) for name, case in CASES.items()}))
