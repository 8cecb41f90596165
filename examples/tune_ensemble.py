"""Tune the ensemble's weights and beta by gradient ascent on the confidence of one song, without stems.

    python -m examples.tune_ensemble              # the demo song, with the SD-SDR of its stems
    python -m examples.tune_ensemble song.mp3     # the first 30 s of any song: weights, beta, confidence
    python -m examples.tune_ensemble --prior 0    # without a prior

The cues' masks do not depend on weights and beta: they are computed once, and a step costs milliseconds.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from tqdm import trange

import torchprim as tp
from torchprim.audio.find import demo_song

SECONDS = 30


def tune(
    separator: tp.PrimitiveSeparator, mixture: tp.Mixture, steps: int = 50, prior: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Maximise confidence - prior (KL(w0 / W || w / W) + log(beta / beta0)²) over weights w and beta.

    w0 and beta0 are the preset's. The sum W of the weights is constant: in equation 1 it scales beta. The
    maximum of confidence alone has infinite beta and all weight on the most decided cue, right or wrong.

    Args:
        separator: its preset is the initial value and the centre of the prior.
        mixture: on the separator's grid.
        steps: of Adam.
        prior: strength of the prior.

    Returns:
        The weights `(D,)`, in the order of the masks, and beta.
    """
    with torch.no_grad():
        masks = list(separator.cue_masks(mixture).values())
    preset, beta0 = torch.tensor(separator.cue_weights()), separator.preset.beta
    logits = (preset / preset.sum()).log().requires_grad_()
    log_ratio = torch.zeros((), requires_grad=True)  # of beta to beta0
    optimiser = torch.optim.Adam([logits, log_ratio], lr=0.05)
    generator = torch.Generator().manual_seed(0)  # each step draws other bins
    for _ in (bar := trange(steps, desc="tuning", unit="step")):
        weights, beta = logits.softmax(0) * preset.sum(), beta0 * log_ratio.exp()
        confidence = tp.confidence_measure(
            masks, mixture.magnitude(), weights, beta, generator=generator
        ).confidence
        penalty = (preset * (preset / weights).log()).sum() / preset.sum() + log_ratio.square()
        loss = prior * penalty - confidence
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bar.set_postfix(confidence=f"{confidence.item():.3f}", beta=f"{beta.item():.2f}")
    return (logits.softmax(0) * preset.sum()).detach(), (beta0 * log_ratio.exp()).detach()


def main() -> None:
    parser = argparse.ArgumentParser(description="Tune the ensemble on the confidence of one song.")
    parser.add_argument("song", nargs="?", help="audio; by default the demo song, whose stems are known")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--prior", type=float, default=0.5, help="how strongly the preset holds back")
    args = parser.parse_args()

    stems = {}
    if args.song is None:
        stems, rate = tp.load_stems(demo_song())
        stems = {name: audio.mean(0) for name, audio in stems.items()}
        vocals = stems.pop("vocals")
        stems = {"vocals": vocals, "accompaniment": sum(stems.values())}
        audio = sum(stems.values())
    else:
        audio, rate = tp.load_audio(args.song)
        audio = audio.mean(0)[: round(SECONDS * rate)]

    separator = tp.PrimitiveSeparator("best")
    mixture = tp.Mixture(audio - audio.mean(), rate, separator.geometry)
    weights, beta = tune(separator, mixture, args.steps, args.prior)

    print("\n" + f"{'':12}" + "".join(f"{name:>10}" for name in (*separator.cues.names, "beta")), end="")
    print(f"{'confidence':>12}" + "".join(f"{name:>15}" for name in stems))
    preset = torch.tensor(separator.cue_weights()), torch.tensor(separator.preset.beta)
    for title, (w, b) in {"preset": preset, "tuned": (weights, beta)}.items():
        with torch.no_grad():
            separation = separator(audio, rate, weights=w, beta=b)
        print(f"{title:12}" + "".join(f"{x:10.2f}" for x in (*w.tolist(), b.item())), end="")
        scores = [tp.sd_sdr(true, getattr(separation, name)).item() for name, true in stems.items()]
        print(f"{separation.confidence.item():12.3f}" + "".join(f"{x:12.2f} dB" for x in scores))


if __name__ == "__main__":
    main()
