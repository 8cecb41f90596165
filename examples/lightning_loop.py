"""Train a network of your own with Lightning, on remixes that are made while it learns.

    python -m examples.lightning_loop MUSIC --run RUN                    # a folder of songs
    python -m examples.lightning_loop MUSIC --run RUN --steps 5000 --accelerator gpu

A batch is a function of seed, rank and step alone: started again, the run goes on from its last checkpoint
with the batches that would have come. Everything that is torchprim's is in `own_network.remixes`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn

import torchprim as tp
from examples.own_network import TasNet, remixes


class Remixed(L.LightningModule):
    """A network `(B, C, T)` -> `(B, 2, C, T)` and the stream that it learns from."""

    def __init__(self, network: nn.Module, stream: tp.RemixStream) -> None:
        super().__init__()
        self.network, self.stream = network, stream

    def train_dataloader(self) -> torch.utils.data.DataLoader:
        self.stream.step = self.global_step  # 0, or where the checkpoint was written
        return torch.utils.data.DataLoader(self.stream.dataset(), batch_size=None)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        mixture, sources = batch
        loss = nn.functional.l1_loss(self.network(mixture), sources)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=1e-3)


def train(module: Remixed, run: str | Path, steps: int, **settings) -> L.Trainer:
    """Train until so many steps are taken, from `last.ckpt` in the folder of the run where there is one."""
    last = Path(run) / "last.ckpt"
    keep = L.pytorch.callbacks.ModelCheckpoint(run, save_last=True, save_top_k=0, every_n_train_steps=100)
    trainer = L.Trainer(max_steps=steps, callbacks=[keep], logger=False, gradient_clip_val=5.0, **settings)
    trainer.fit(module, ckpt_path=last if last.exists() else None)
    trainer.save_checkpoint(last)
    return trainer


def main(argv: list[str] | None = None) -> None:
    """Train on a folder of songs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", help="folder of songs")
    parser.add_argument("--run", default="run", help="folder of the checkpoint (run)")
    parser.add_argument("--steps", type=int, default=1000, help="of Adam (1000)")
    parser.add_argument("--accelerator", default="cpu", help="cpu or gpu (cpu)")
    args = parser.parse_args(argv)
    L.seed_everything(0)
    device = "cuda" if args.accelerator == "gpu" else "cpu"
    stream = remixes(args.music, device, batch_size=4, frames=200)
    train(Remixed(TasNet(), stream), args.run, args.steps, accelerator=args.accelerator, devices=1)


if __name__ == "__main__":
    main()
