"""Training loss of one head and of both; from logits; on some frames."""

import pytest
import torch
from torch.nn.functional import normalize

from torchprim.losses.clustering import deep_clustering_loss, whitened_kmeans_loss
from torchprim.losses.grams import weighted_grams
from torchprim.losses.masking import mask_loss, stem_mask_loss
from torchprim.losses.sd_sdr import stem_sd_sdr_loss
from torchprim.losses.training_loss import sample_frames, training_loss
from torchprim.networks.heads import NetworkOutput


def test_training_loss_is_the_weighted_sum_of_its_parts(batch, sources):
    embedding, labels, weights = batch
    mask, mixture, vocals, rest = sources
    arguments = (labels, weights, mixture, (rest, vocals))
    both = training_loss(NetworkOutput(embedding, mask), *arguments, balance=0.25)
    torch.testing.assert_close(both.clustering, deep_clustering_loss(embedding, labels, weights))
    torch.testing.assert_close(both.mask, mask_loss(mask, mixture, vocals, rest))
    torch.testing.assert_close(both.total, 0.75 * both.clustering + 0.25 * both.mask)
    torch.testing.assert_close(both.grams.cross, weighted_grams(embedding, labels, weights).cross)
    alone = training_loss(NetworkOutput(embedding, None), *arguments, clustering="whitened")
    torch.testing.assert_close(alone.total, whitened_kmeans_loss(embedding, labels, weights))
    assert alone.mask is None
    frames = torch.tensor([0, 4])
    some = training_loss(NetworkOutput(embedding[:, :, frames], None), *arguments, frames=frames)
    wanted = deep_clustering_loss(embedding[:, :, frames], labels[..., frames], weights[..., frames])
    torch.testing.assert_close(some.total, wanted)


@pytest.mark.parametrize("clustering", ["deep", "whitened"])
def test_training_loss_from_logits(clustering, batch, generator):
    """The loss of an embedding head's logits, and its gradient, are those of `unit_embedding` of them."""
    logits = torch.randn(3, 5, 7, 4, dtype=torch.float64, generator=generator).requires_grad_()
    mixture = torch.rand(3, 5, 7, generator=generator).double()
    arguments = (batch[1], batch[2], mixture, (mixture, mixture))
    embedding = normalize(torch.sigmoid(logits), dim=-1)
    wanted = training_loss(NetworkOutput(embedding), *arguments, clustering=clustering)
    (slope,) = torch.autograd.grad(wanted.total, logits)
    output = NetworkOutput(logits=logits)
    got = training_loss(output, *arguments, clustering=clustering)
    torch.testing.assert_close(got.total, wanted.total)
    torch.testing.assert_close(torch.autograd.grad(got.total, logits)[0], slope)
    assert output._embedding is None  # never materialised
    torch.testing.assert_close(output.embedding, embedding)
    assert output.embedding is output.embedding


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("classes", [3, 4])
def test_training_loss_of_more_sources(classes, logits, generator):
    """The sum of the same parts, with class numbers, K masks and K targets."""
    raw = torch.randn(3, 5, 7, 4, dtype=torch.float64, generator=generator).requires_grad_()
    embedding = normalize(torch.sigmoid(raw), dim=-1)
    labels = torch.randint(classes, (3, 5, 7), generator=generator).byte()
    weights = torch.rand(3, 5, 7, generator=generator).double()
    sources = torch.rand(classes, 3, 5, 7, generator=generator).double().unbind(0)
    mixture, masks = sum(sources), torch.rand(3, classes, 5, 7, generator=generator).double().softmax(1)
    given = (labels, weights, mixture, sources)
    output = NetworkOutput(mask=masks, logits=raw) if logits else NetworkOutput(embedding, masks)
    both = training_loss(output, *given, balance=0.25, order=2)
    torch.testing.assert_close(both.clustering, deep_clustering_loss(embedding, labels, weights, classes))
    assert both.mask == stem_mask_loss(masks, mixture, sources, order=2)
    torch.testing.assert_close(both.total, 0.75 * both.clustering + 0.25 * both.mask)
    assert both.grams.cross.shape == (3, 4, classes)
    assert both.total.requires_grad
    frames = torch.tensor([0, 4])
    one = NetworkOutput(embedding[:, :, frames], masks)
    some = training_loss(one, *given, frames=frames, clustering="whitened", masking="sd-sdr", balance=0.5)
    chosen = (embedding[:, :, frames], labels[..., frames], weights[..., frames])
    wanted = whitened_kmeans_loss(*chosen, classes=classes) + stem_sd_sdr_loss(masks, mixture, sources)
    torch.testing.assert_close(some.total, wanted / 2)


def test_sampled_frames(generator):
    for count, chosen in ((256, 32), (400, 33), (5, 9), (1, 1)):
        frames = sample_frames(count, chosen, generator)
        assert len(frames) == min(count, chosen) == len(frames.unique())
        assert (frames >= 0).all() and (frames < count).all() and (frames.diff() > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clustering": "soft"}, "clustering must be one of deep, whitened, got 'soft'"),
        ({"masking": "l3"}, "masking must be one of distance, sd-sdr, got 'l3'"),
        ({"balance": 1.5}, "balance must lie"),
    ],
)
def test_bad_arguments(settings, message, batch):
    embedding, labels, weights = batch
    with pytest.raises(ValueError, match=message):
        training_loss(
            NetworkOutput(embedding, weights), labels, weights, weights, (weights, weights), **settings
        )


@pytest.mark.parametrize(
    ("count", "message"),
    [(1, "sources must hold at least two, got 1"), (3, "sources must hold one for each mask, 4, got 3")],
)
def test_a_wrong_number_of_sources(count, message):
    masks, plane = torch.rand(2, 4, 5, 7), torch.rand(2, 5, 7)
    with pytest.raises(ValueError, match=message):
        training_loss(NetworkOutput(mask=masks), plane > 0, plane, plane, [plane] * count)
