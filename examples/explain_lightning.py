"""A Lightning module, watched by a callback in the validation passes that it makes anyway. About 15 s on two cores.

    python examples/explain_lightning.py

Needs `pip install lightning`. The data are the spoken and written digits that come with mmbal. The head is linear on
concatenated features, so each modality has an exact part of the decision.
"""

from __future__ import annotations

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mmbal
from mmbal.data.prepare import embedded_store
from mmbal.explain.lightning import MonitorCallback

WIDTH = 32


class Digits(lightning.LightningModule):
    """Two encoders, one linear head on their features."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Flatten(), nn.Linear(1024, WIDTH), nn.ReLU())
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(784, WIDTH), nn.ReLU())
        self.head = nn.Linear(2 * WIDTH, 10)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.image(image)], dim=1))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return nn.functional.cross_entropy(self(*batch[:2]), batch[2])

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(*batch[:2]), batch[2]))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main() -> None:
    lightning.seed_everything(0, verbose=False)
    store = mmbal.Store.open(embedded_store())

    def loader(split: str) -> DataLoader[tuple[Tensor, ...]]:
        rows = store.rows(split)
        audio = torch.from_numpy(np.asarray(store.arrays["audio"][rows], np.float32) / 4 + 1)
        image = torch.from_numpy(np.asarray(store.arrays["image"][rows], np.float32) / 77)
        data = TensorDataset(audio, image, torch.from_numpy(store.labels[rows]).long())
        return DataLoader(data, batch_size=64, shuffle=split == "train")

    module = Digits()
    monitor = MonitorCallback(module.head, {"audio": WIDTH, "image": WIDTH}, classes=store.classes, out="monitored")
    trainer = lightning.Trainer(
        max_epochs=5,
        callbacks=[monitor],
        logger=CSVLogger("."),
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader("train"), loader("val"))
    print(*monitor.diagnosis.verdict, sep="\n")
    for pair, told in monitor.diagnosis.interaction.items():
        print(f"{pair}: {told.kind['log_likelihood'] or 'no clear interaction'}, {told.log_likelihood.value:+.2f} nats")

    # the decision layer: fitted on the last validation pass, put back on the parts of the linear head
    rule = mmbal.fit_rule(mmbal.Predictions.load("monitored/predictions.npz"), "adaptive")
    layer = rule.to_module()  # a torch module of the parts, in the order of layer.modalities
    weights = module.head.weight.split(WIDTH, dim=1)
    module.eval()
    right = np.zeros(2)
    for audio, image, labels in loader("test"):
        with torch.no_grad():
            features = {"audio": module.audio(audio), "image": module.image(image)}
            parts = {m: z @ w.T + module.head.bias / 2 for (m, z), w in zip(features.items(), weights, strict=True)}
            decided = [module(audio, image), layer(*parts.values())]
        right += [float((logits.argmax(dim=1) == labels).sum()) for logits in decided]
    before, after = right / len(store.rows("test"))
    print(f"as it is: {before:.1%} of the test samples are right\nwith the fitted rule: {after:.1%}")


if __name__ == "__main__":
    main()
