"""A torch model with FiLM fusion, which has no part for each modality: asked, judged, and mended. About 10 s on two cores.

    python examples/explain_film.py

The data are the spoken and written digits that come with mmbal. The model sees each modality through a small encoder; the
sound scales and shifts the features of the picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import mmbal
from mmbal.data.prepare import embedded_store

EPOCHS = 15


class FiLM(nn.Module):
    """A sound, a picture -> logits."""

    def __init__(self, width: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Flatten(), nn.Linear(1024, width), nn.ReLU())
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU())
        self.film, self.out = nn.Linear(width, 2 * width), nn.Linear(width, classes)

    def forward(self, audio: Tensor, image: Tensor) -> Tensor:
        gamma, beta = self.film(self.audio(audio)).chunk(2, dim=1)
        return self.out(gamma * self.image(image) + beta)


def main() -> None:
    torch.manual_seed(0)
    store = mmbal.Store.open(embedded_store())
    audio = torch.from_numpy(np.asarray(store.arrays["audio"], np.float32) / 4 + 1)
    image = torch.from_numpy(np.asarray(store.arrays["image"], np.float32) / 77)
    labels = torch.from_numpy(store.labels).long()

    model = FiLM()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(np.random.permutation(store.rows("train"))).split(64):
            loss = nn.functional.cross_entropy(model(audio[rows], image[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    held_out = np.flatnonzero(store.split != "train")

    def predict(batch: dict[str, Tensor]) -> Tensor:
        return model(batch["audio"], batch["image"])

    found = mmbal.explain(
        predict,
        {"audio": audio[held_out], "image": image[held_out]},
        labels[held_out],
        split=store.split[held_out],
        classes=store.classes,
        baseline=["zero", "shuffled"],
    )
    diagnosis = mmbal.diagnose(found)
    print(*diagnosis.verdict, sep="\n")
    for pair, told in diagnosis.interaction.items():
        print(f"{pair}: {told.kind['log_likelihood'] or 'no clear interaction'}, {told.log_likelihood.value:+.2f} nats")

    rule = mmbal.fit_rule(found.select("calibration"), "adaptive")
    mended = mmbal.explain.Mended(predict, rule)  # takes the same batches as predict
    test = store.rows("test")
    with torch.no_grad():
        before = model.eval()(audio[test], image[test]).log_softmax(dim=1).numpy()
    after = mended({"audio": audio[test], "image": image[test]})
    for name, log_p in {"as it is": before, "with the fitted rule": after}.items():
        right = np.mean(log_p.argmax(axis=1) == store.labels[test])
        nll = -np.mean(log_p[np.arange(len(test)), store.labels[test]])
        print(f"{name}: {right:.1%} of the test samples are right, NLL {nll:.3f}")


if __name__ == "__main__":
    main()
