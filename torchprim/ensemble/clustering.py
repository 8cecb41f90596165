"""Clustering of the primitives' masks with fixed centres: equation 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.clustering.soft_assignment import assign, root
from torchprim.kernels.tables import constant_table


def embed(masks: Sequence[Tensor]) -> Tensor:
    """Stack D masks into the primitive embedding (section 2 of the paper).

    Args:
        masks: D masks `(..., F, N)`; dtypes are promoted to one.

    Returns:
        `(..., F, N, D)`, float32 or float64.

    Raises:
        ValueError: for no masks, or masks of different shapes.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.embed([torch.rand(2, 65, 40), torch.rand(2, 65, 40)]).shape
        torch.Size([2, 65, 40, 2])
    """
    return checks.real(torch.stack(checked_masks(masks), dim=-1), "masks", 3, "(..., F, N, D)")


def checked_masks(masks: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """Check D masks, a sequence or an embedding `(..., F, N, D)`; return a list of one shape and dtype.

    A sequence may be in half precision, which operators load as it is.

    Raises:
        ValueError: for no masks, masks of different shapes, or masks that are not real.
    """
    if isinstance(masks, Tensor):
        masks = checks.real(masks, "masks", 3, "(..., F, N, D)").unbind(-1)
    if len(masks) == 0:
        raise ValueError("masks must hold at least one mask, got none")
    masks = [checks.floating(mask, f"masks[{i}]", 2, "(..., F, N)") for i, mask in enumerate(masks)]
    for i, mask in enumerate(masks):
        if mask.shape != masks[0].shape:
            raise ValueError(f"masks[{i}] has shape {tuple(mask.shape)}, masks[0] {tuple(masks[0].shape)}")
    dtype = reduce(torch.promote_types, (mask.dtype for mask in masks))
    return [mask.to(dtype) for mask in masks]


def checked_weights(weights: Sequence[float] | Tensor | None, dimensions: int, like: Tensor) -> Tensor:
    """Check weights; return them as a tensor `(D,)` on the device of `like`.

    Args:
        weights: D numbers, not negative and not all 0; None for 1 each.
        dimensions: D.
        like: gives device and dtype; float32 for half precision.

    Raises:
        ValueError: for a wrong number of weights, or weights that are negative, not finite, or all 0.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    if weights is None:
        return torch.ones(dimensions, dtype=dtype, device=like.device)
    if isinstance(weights, Tensor):
        checks.holds_values(checks.dense(weights, "weights"), "weights", like)
        weights = weights.to(like.device, dtype, non_blocking=True)
    else:
        # Cached on the device: a CUDA graph cannot capture a copy from pageable host memory.
        weights = _weights_table(tuple(map(float, weights)), dtype, like.device)[0]
    if weights.shape != (dimensions,):
        got = f"shape {tuple(weights.shape)}" if weights.is_meta else checks.described(weights.tolist())
        raise ValueError(f"weights must hold {dimensions} numbers, one a mask, got {got}")
    if weights.device.type == "cpu" and not torch.compiler.is_compiling():
        ok = bool(torch.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any())
        if not ok:
            raise ValueError(
                f"weights must not be negative and not all 0, got {checks.described(weights.tolist())}"
            )
    return weights


@constant_table
def _weights_table(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    return [torch.tensor(values, dtype=dtype).to(device)]


def weighted_distances(masks: Sequence[Tensor], weights: Tensor, centre: Tensor) -> Tensor:
    """Compute the weighted Euclidean distance of every bin to a centre, without stacking the masks.

    d = sqrt(Σ w_i (x_i - c_i)²), with gradient 0 at distance 0.

    Args:
        masks: D masks `(..., F, N)`, or D coordinates `(..., P)` of points.
        weights: `(D,)`.
        centre: `(D,)`, or `(..., D)` for one in each item of the batch.

    Returns:
        Like each mask.
    """
    coordinates = (x.reshape(x.shape + (1,) * (masks[0].dim() - x.dim())) for x in centre.unbind(-1))
    return root(sum(w * (mask - x).square() for w, mask, x in zip(weights, masks, coordinates, strict=True)))


def checked_centres(centres: Sequence[Sequence[float]] | Tensor, weights: Tensor) -> Tensor:
    """Check centres `(..., K, D)`, K at least 2; return them in the dtype and on the device of the weights.

    Args:
        centres: a tensor, or a sequence of K sequences of D numbers.
        weights: `(D,)`.

    Raises:
        ValueError: for another shape.
    """
    if not isinstance(centres, Tensor):
        rows = tuple(tuple(map(float, row)) for row in centres)
        if len({len(row) for row in rows}) > 1:
            raise ValueError(f"centres must have one length, got {sorted({len(row) for row in rows})}")
        # Cached on the device, as weights are.
        flat, columns = sum(rows, ()), len(rows[0]) if rows else 0
        (table,) = _weights_table(flat, weights.dtype, weights.device)
        centres = table.reshape(len(rows), columns)
    centres = checks.real(centres, "centres", 2, "(..., K, D)").to(weights)
    if centres.shape[-1] != len(weights) or centres.shape[-2] < 2:
        shape = tuple(centres.shape)
        raise ValueError(f"centres must have shape (..., K, {len(weights)}) with K at least 2, got {shape}")
    return centres


def is_default(centres: Tensor) -> bool:
    """Return whether centres are 0 and 1, where their values can be read without waiting for a device."""
    if centres.shape[:-1] != (2,) or centres.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return not centres.requires_grad and bool((centres[0] == 0).all() and (centres[1] == 1).all())


def posteriors(
    masks: Sequence[Tensor], weights: Tensor, beta: float | Tensor, centres: Tensor, dim: int
) -> Tensor:
    """Compute the posterior of K clusters, γ_k = exp(-β d_k) / Σ_j exp(-β d_j) (equation 1 of the paper).

    Args:
        masks: D masks `(..., F, N)`, or D coordinates `(..., P)` of points, float.
        weights: `(D,)`.
        beta: hardness β.
        centres: `(K, D)`, or `(..., K, D)` for other ones in each item of the batch.
        dim: of the clusters in the result.
    """
    distances = [weighted_distances(masks, weights, centre) for centre in centres.unbind(-2)]
    return torch.softmax(-beta * torch.stack(distances, dim), dim)


def membership(to_accompaniment: Tensor, to_vocals: Tensor, beta: float | Tensor) -> Tensor:
    """Compute the soft membership in the vocals' cluster from the distances to both centres (equation 1).

    exp(-β d1) / (exp(-β d0) + exp(-β d1)) = sigmoid(β (d0 - d1)). With centres 0 and 1, `soft_assignment`
    computes distances and membership in one operator.

    Args:
        to_accompaniment: d0, distance to the centre of the accompaniment.
        to_vocals: d1, distance to the centre of the vocals, of the same shape.
        beta: hardness β.

    Returns:
        Like the distances, in [0, 1].

    Example:
        >>> import torch
        >>> from torchprim.ensemble.clustering import membership
        >>> to_accompaniment, to_vocals = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.5])
        >>> [round(x, 3) for x in membership(to_accompaniment, to_vocals, 5.0).tolist()]
        [0.993, 0.5]
    """
    return torch.sigmoid(beta * (to_accompaniment - to_vocals))


def soft_assignment(
    masks: Sequence[Tensor] | Tensor,
    weights: Sequence[float] | Tensor | None = None,
    beta: float | Tensor = 5.0,
    *,
    centres: Sequence[Sequence[float]] | Tensor | None = None,
) -> Tensor:
    """Combine D masks into one: soft k-means with centres fixed at 0 and 1 (equation 1 of the paper).

    mask = exp(-β d1) / (exp(-β d0) + exp(-β d1)) = sigmoid(β (d0 - d1)), with
    d0 = sqrt(Σ w_i x_i²) and d1 = sqrt(Σ w_i (1 - x_i)²). With K centres c_k the posterior of each cluster:
    γ_k = exp(-β d_k) / Σ_j exp(-β d_j), with d_k = sqrt(Σ w_i (x_i - c_ki)²).

    Args:
        masks: D masks `(..., F, N)`, as a sequence or as an embedding `(..., F, N, D)`.
        weights: `(D,)`, not negative; 1 each by default. A tensor receives a gradient.
        beta: hardness of the decision, positive. A tensor receives a gradient.
        centres: `(K, D)`, one of each source, K at least 2; by default accompaniment at 0 and vocals at 1.

    Returns:
        `(..., F, N)` in [0, 1], of the vocals; with centres `(..., K, F, N)`, which add up to 1.

    Raises:
        ValueError: for masks of different shapes, weights or centres of the wrong length, or beta <= 0 or of
            more than one number.

    Example:
        >>> import torch, torchprim as tp
        >>> agree, differ = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]])
        >>> [round(x, 3) for x in tp.soft_assignment([agree, differ], beta=5.0)[0].tolist()]
        [0.001, 0.5]
        >>> tp.soft_assignment([agree, differ], centres=[[0, 0], [1, 0], [1, 1]]).argmax(-3).tolist()
        [[0, 1]]
    """
    masks = checked_masks(masks)
    checks.positive(beta, "beta", masks[0])
    weights = checked_weights(weights, len(masks), masks[0])
    if centres is None:
        return assign(masks, weights, beta)
    centres = checked_centres(centres, weights)
    if is_default(centres):
        vocals = assign(masks, weights, beta)
        return torch.stack([1 - vocals, vocals], -3)
    return posteriors([mask.to(weights.dtype) for mask in masks], weights, beta, centres, dim=-3)
