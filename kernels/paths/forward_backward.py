"""Forward-backward over pitches and, optionally, one unvoiced state: the soft path."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.paths.transition import (
    MAX_STATES,
    check_lattice,
    in_single,
    settings_gradients,
    transition,
)
from torchprim.kernels.register import load, register_operator, save


def _messages(
    scores: Tensor, weight: Tensor, gradient: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Compute likelihoods `(B, N, S)`, messages `(2, B, N, S)`; gradient and tangents in the same form.

    The forward message of a frame holds its likelihood, the backward one does not. Each is scaled to a sum
    of 1 before the next: marginals do not depend on it, and nothing underflows. The weights are symmetric,
    so that both directions are one recursion over frames in either order.
    """
    likelihood = torch.exp(scores - scores.amax(1, keepdim=True)).permute(2, 0, 1)  # (N, B, S)
    likelihoods = torch.stack([likelihood, likelihood.flip(0)], 1)  # (N, 2, B, S), of either direction
    messages, tangents = torch.empty_like(likelihoods), None
    if gradient is not None:
        gradient = gradient.permute(2, 0, 1)
        slopes = torch.stack([gradient, gradient.flip(0)], 1)
        tangents = torch.empty_like(likelihoods)
    message, d_message = torch.ones_like(likelihoods[0]), torch.zeros_like(likelihoods[0])
    for n in range(len(likelihoods)):
        product = message * likelihoods[n]
        total = product.sum(-1, keepdim=True)
        product = product / total
        messages[n, 0], messages[n, 1] = product[0], message[1]
        message = product @ weight
        if gradient is not None:
            tangent = d_message * (likelihoods[n] / total) + product * slopes[n]
            # Any multiple of a message may be added to its tangent: with this one it sums to 0.
            tangent = tangent - product * tangent.sum(-1, keepdim=True)
            tangents[n, 0], tangents[n, 1] = tangent[0], d_message[1]
            d_message = tangent @ weight

    def in_time(x):
        return None if x is None else torch.stack([x[:, 0], x[:, 1].flip(0)]).transpose(1, 2)

    gradient = None if gradient is None else gradient.transpose(0, 1)
    return likelihood.transpose(0, 1), in_time(messages), gradient, in_time(tangents)


def reference(scores: Tensor, slope: Tensor, jump: Tensor, switch: Tensor, band: int, rest: bool) -> Tensor:
    """Compute marginals `(B, S, N)`, the unvoiced state last: the product of both messages."""
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
    """Compute gradients to the scores `(B, S, N)` and, with `settings`, to slope, jump and switch `(3,)`.

    Marginals are the derivative of log Z to the scores, so their Jacobian is symmetric: its transpose times
    the gradient, which the chain rule asks for, is the marginals' tangent along the gradient.
    """
    single, gradient = in_single(scores, gradient)
    dtype, (slope, jump, switch) = slope.dtype, (x.to(single.dtype) for x in (slope, jump, switch))
    weight, derivatives = transition(scores.shape[1], rest, band, slope, jump, switch)
    likelihood, messages, gradient, tangents = _messages(single, weight, gradient.to(single.dtype))
    product = messages[0] * messages[1]
    tangent = tangents[0] * messages[1] + messages[0] * tangents[1]
    total = product.sum(-1, keepdim=True)
    d_scores = (tangent - product * (tangent.sum(-1, keepdim=True) / total)) / total
    d_settings = torch.zeros(3, dtype=dtype, device=scores.device)
    if settings:
        rows = (likelihood, gradient, messages, tangents)
        d_settings = settings_gradients(*rows, weight, derivatives).to(dtype)
    return d_scores.transpose(1, 2).to(scores.dtype, copy=True).contiguous(), d_settings


def _empty_marginals(scores: Tensor) -> Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


def _kernel_fits(scores: Tensor) -> bool:
    return scores.shape[1] <= MAX_STATES


_marginals = register_operator(
    "forward_backward",
    reference,
    kernel="forward_backward_triton.forward",
    fake=_empty_marginals,
    fits=_kernel_fits,
)
_marginals_backward = register_operator(
    "forward_backward_backward",
    reference_gradients,
    kernel="forward_backward_triton.backward",
    fake=lambda scores, slope: (_empty_marginals(scores), slope.new_empty(3)),
    fits=_kernel_fits,
)


def _gradients(ctx, gradient):
    """Compute the gradients; those to the costs come as one tensor."""
    settings = any(ctx.needs_input_grad[1:4])
    d_scores, d_settings = _marginals_backward(gradient, *load(ctx), settings)
    return d_scores, *(d_settings.unbind() if settings else (None, None, None)), None, None


_marginals.register_autograd(_gradients, setup_context=lambda ctx, inputs, output: save(ctx, inputs))


def forward_backward(
    emission: Tensor,
    unvoiced: Tensor | None = None,
    band: int = 16,
    slope: float | Tensor = 0.01,
    jump: float | Tensor = 12.0,
    switch: float | Tensor = 4.0,
) -> Tensor:
    """Compute the marginals of each frame over all paths (Rabiner 1989), differentiable.

    The weight of a path is exp(sum of its scores - sum of its costs), with the costs of `viterbi`; the
    marginal of a state is the share of the paths through it.

    Args:
        emission: `(..., P, N)`, score of each pitch in each frame (a log-likelihood).
        unvoiced: `(..., N)`, score of the unvoiced state; None for none.
        band: largest step in pitches without a jump.
        slope: cost of a step, per pitch of distance; a tensor of one number receives a gradient.
        jump: cost of a new note, likewise.
        switch: cost of a change of voicing, likewise.

    Returns:
        `(..., P, N)`, or `(..., P + 1, N)` with the unvoiced state last; sums to 1 over the states.
        Gradients flow to both scores and to costs that are tensors; where a step costs as much as a jump,
        to the slope. There are no second derivatives.

    Raises:
        ValueError: for no pitches or no frames, or a band below 0.

    Example:
        >>> import torch
        >>> from torchprim.kernels.paths.forward_backward import forward_backward
        >>> emission = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 0.5, -1.0]])  # two pitches, three frames
        >>> forward_backward(emission, slope=2.0)[0].mul(100).round().tolist()
        [76.0, 73.0, 76.0]
    """
    check_lattice(emission, band)
    *lead, pitches, frames = emission.shape
    if unvoiced is not None:
        unvoiced = unvoiced.expand(*lead, frames).unsqueeze(-2)
        emission = torch.cat([emission, unvoiced.to(emission.dtype)], -2)
    states = emission.shape[-2]
    dtype = torch.promote_types(emission.dtype, torch.float32)
    costs = (
        x.to(emission.device, dtype).reshape(())
        if isinstance(x, Tensor)
        else emission.new_full((), x, dtype=dtype)
        for x in (slope, jump, switch)
    )
    scores = emission.reshape(math.prod(lead), states, frames)
    marginals = _marginals(scores, *costs, min(band, pitches - 1), unvoiced is not None)
    return marginals.reshape(*lead, states, frames)
