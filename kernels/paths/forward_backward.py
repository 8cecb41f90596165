"""Forward-backward over pitches and, where wanted, one unvoiced state: the soft path."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel
from torchprim.kernels.paths.transition import settings_gradients, transition
from torchprim.kernels.paths.viterbi import MOST_STATES, in_single


def _messages(
    scores: Tensor, weight: Tensor, gradient: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Likelihoods `(B, N, S)`, messages `(2, B, N, S)`, and gradient and tangents in the same form.

    The forward message of a frame holds its likelihood, the backward one does not. Each is scaled to a sum
    of 1 before the next: marginals do not change by it, and nothing underflows. The weights are symmetric,
    so that both directions are one recursion over frames in either order.
    """
    likelihood = torch.exp(scores - scores.amax(1, keepdim=True)).permute(2, 0, 1)  # N, B, S
    ways = torch.stack([likelihood, likelihood.flip(0)], 1)  # N, 2, B, S
    messages, tangents, turned = torch.empty_like(ways), None, None
    if gradient is not None:
        turned = gradient.permute(2, 0, 1)
        slopes = torch.stack([turned, turned.flip(0)], 1)
        tangents = torch.empty_like(ways)
    found, d_found = torch.ones_like(ways[0]), torch.zeros_like(ways[0])
    for n in range(len(ways)):
        both = found * ways[n]
        total = both.sum(-1, keepdim=True)
        both = both / total
        messages[n, 0], messages[n, 1] = both[0], found[1]
        found = both @ weight
        if gradient is not None:
            tangent = d_found * (ways[n] / total) + both * slopes[n]
            # Any multiple of a message may be added to its tangent: with this one it sums to 0.
            tangent = tangent - both * tangent.sum(-1, keepdim=True)
            tangents[n, 0], tangents[n, 1] = tangent[0], d_found[1]
            d_found = tangent @ weight

    def in_time(x):
        return None if x is None else torch.stack([x[:, 0], x[:, 1].flip(0)]).transpose(1, 2)

    turned = None if turned is None else turned.transpose(0, 1)
    return likelihood.transpose(0, 1), in_time(messages), turned, in_time(tangents)


def reference(scores: Tensor, slope: Tensor, jump: Tensor, switch: Tensor, band: int, rest: bool) -> Tensor:
    """Marginals `(B, S, N)`, the unvoiced state last: the product of both messages."""
    (single,) = in_single(scores)
    slope, jump, switch = (x.to(single.dtype) for x in (slope, jump, switch))
    weight, _ = transition(scores.shape[1], rest, band, slope, jump, switch)
    _, (forward, backward), _, _ = _messages(single, weight)
    product = forward * backward
    marginals = product / product.sum(-1, keepdim=True)
    return marginals.transpose(1, 2).to(scores.dtype, copy=True).contiguous()


def reference_gradients(
    gradient: Tensor,
    scores: Tensor,
    slope: Tensor,
    jump: Tensor,
    switch: Tensor,
    band: int,
    rest: bool,
    settings: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients to the scores `(B, S, N)` and, where asked for, to slope, jump and switch `(3,)`.

    Marginals are the derivative of log Z to the scores, so their Jacobian is symmetric: what the chain rule
    wants, the Jacobian's transpose times the gradient, is the marginals' tangent in that direction.
    """
    single, gradient = in_single(scores, gradient)
    kept, (slope, jump, switch) = slope.dtype, (x.to(single.dtype) for x in (slope, jump, switch))
    weight, derivatives = transition(scores.shape[1], rest, band, slope, jump, switch)
    likelihood, messages, turned, tangents = _messages(single, weight, gradient.to(single.dtype))
    product = messages[0] * messages[1]
    tangent = tangents[0] * messages[1] + messages[0] * tangents[1]
    total = product.sum(-1, keepdim=True)
    d_scores = (tangent - product * (tangent.sum(-1, keepdim=True) / total)) / total
    d_settings = torch.zeros(3, dtype=kept, device=scores.device)
    if settings:
        found = settings_gradients(likelihood, turned, messages, tangents, weight, derivatives)
        d_settings = found.to(kept)
    return d_scores.transpose(1, 2).to(scores.dtype, copy=True).contiguous(), d_settings


def _kernel_runs(scores: Tensor, slope: Tensor, jump: Tensor, switch: Tensor) -> bool:
    return takes_kernel(scores, slope, jump, switch) and scores.shape[1] <= MOST_STATES


@torch.library.custom_op("torchprim::forward_backward", mutates_args=())
def _marginals(scores: Tensor, slope: Tensor, jump: Tensor, switch: Tensor, band: int, rest: bool) -> Tensor:
    arguments = (scores, slope, jump, switch, band, rest)
    if _kernel_runs(*arguments[:4]):
        from torchprim.kernels.paths import forward_backward_triton

        return forward_backward_triton.forward(*arguments)
    return reference(*arguments)


@_marginals.register_fake
def _(scores, slope, jump, switch, band, rest):
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


@torch.library.custom_op("torchprim::forward_backward_backward", mutates_args=())
def _marginals_backward(
    gradient: Tensor,
    scores: Tensor,
    slope: Tensor,
    jump: Tensor,
    switch: Tensor,
    band: int,
    rest: bool,
    settings: bool,
) -> tuple[Tensor, Tensor]:
    arguments = (gradient, scores, slope, jump, switch, band, rest, settings)
    if _kernel_runs(*arguments[1:5]):
        from torchprim.kernels.paths import forward_backward_triton

        return forward_backward_triton.backward(*arguments)
    return reference_gradients(*arguments)


@_marginals_backward.register_fake
def _(gradient, scores, slope, jump, switch, band, rest, settings):
    return torch.empty_like(scores, memory_format=torch.contiguous_format), slope.new_empty(3)


def _remember(ctx, inputs, output):
    *tensors, ctx.band, ctx.rest = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, gradient):
    settings = any(ctx.needs_input_grad[1:4])
    d_scores, d_settings = _marginals_backward(gradient, *ctx.saved_tensors, ctx.band, ctx.rest, settings)
    return d_scores, *(d_settings.unbind() if settings else (None, None, None)), None, None


_marginals.register_autograd(_gradients, setup_context=_remember)


def forward_backward(
    emission: Tensor,
    unvoiced: Tensor | None = None,
    band: int = 16,
    slope: float | Tensor = 0.01,
    jump: float | Tensor = 12.0,
    switch: float | Tensor = 4.0,
) -> Tensor:
    """Marginals of every frame over all paths (Rabiner 1989), differentiable.

    A path weighs exp(sum of its scores - sum of its costs), with the costs of `viterbi`; the marginal of
    a state is the share of the weight of the paths through it.

    Args:
        emission: `(..., P, N)`, score of each pitch in each frame (a log-likelihood).
        unvoiced: `(..., N)`, score of the unvoiced state; None for none.
        band: largest step in pitches without a jump.
        slope: cost of a step, for each pitch of distance; a tensor of one number receives a gradient.
        jump: cost of a new note, likewise.
        switch: cost of a change of voicing, likewise.

    Returns:
        `(..., P, N)`, or `(..., P + 1, N)` with the unvoiced state last; sums to 1 over the states.
        Gradients flow to both scores and to tensors of costs; where a step costs as much as a jump, the
        slope receives it. There are no second derivatives.

    Raises:
        ValueError: for no pitches or no frames, or a band below 0.

    Example:
        >>> import torch
        >>> from torchprim.kernels.paths.forward_backward import forward_backward
        >>> emission = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 0.5, -1.0]])  # two pitches, three frames
        >>> forward_backward(emission, slope=2.0)[0].mul(100).round().tolist()
        [76.0, 73.0, 76.0]
    """
    *lead, pitches, frames = emission.shape
    if pitches < 1 or frames < 1:
        raise ValueError(f"emission must have one pitch and frame or more, got shape {tuple(emission.shape)}")
    if band < 0:
        raise ValueError(f"band must be 0 or more, got {band!r}")
    if unvoiced is not None:
        unvoiced = unvoiced.expand(*lead, frames).unsqueeze(-2)
        emission = torch.cat([emission, unvoiced.to(emission.dtype)], -2)
    states = emission.shape[-2]
    kind = torch.promote_types(emission.dtype, torch.float32)
    costs = (
        x.to(emission.device, kind).reshape(())
        if isinstance(x, Tensor)
        else emission.new_full((), x, dtype=kind)
        for x in (slope, jump, switch)
    )
    scores = emission.reshape(math.prod(lead), states, frames)
    marginals = _marginals(scores, *costs, min(band, pitches - 1), unvoiced is not None)
    return marginals.reshape(*lead, states, frames)
