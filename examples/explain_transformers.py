"""A text-and-image model of transformers in Hugging Face's Trainer, watched by a callback. About 30 s on two cores.

    python examples/explain_transformers.py

Needs `pip install transformers accelerate`. BERT and ViT are built from small configurations, nothing is downloaded. The
pictures are written digits; the text names the digit, in one of four samples a wrong one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, Trainer, TrainingArguments, ViTConfig, ViTModel

import mmbal
from mmbal.data.prepare import embedded_store
from mmbal.explain.transformers import MonitorCallback

WIDTH = 32
WORDS = 3  # tokens of a text
FIRST = 2  # token of the word "zero"


class TextImage(nn.Module):
    """Two transformers, one linear head on their features."""

    def __init__(self) -> None:
        super().__init__()
        small = {
            "hidden_size": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 2 * WIDTH,
        }
        self.text = BertModel(BertConfig(vocab_size=16, max_position_embeddings=8, **small))
        self.image = ViTModel(ViTConfig(image_size=28, patch_size=7, num_channels=1, **small))
        self.head = nn.Linear(2 * WIDTH, 10)

    def forward(self, input_ids: Tensor, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        text = self.text(input_ids=input_ids).last_hidden_state.mean(dim=1)
        image = self.image(pixel_values=pixel_values).last_hidden_state.mean(dim=1)
        logits = self.head(torch.cat([text, image], dim=1))
        loss = {} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


def main() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    store = mmbal.Store.open(embedded_store())

    def rows(split: str) -> list[dict[str, Tensor]]:
        found = []
        for row in store.rows(split):
            label = int(store.labels[row])
            said = int(random.integers(10)) if random.random() < 0.25 else label
            picture = torch.from_numpy(np.asarray(store.arrays["image"][[row]][0], np.float32) / 128 - 0.25)
            found.append({"input_ids": torch.full((WORDS,), FIRST + said), "pixel_values": picture, "labels": label})
        return found

    model = TextImage()
    arguments = TrainingArguments(
        output_dir="trained",
        num_train_epochs=6,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        learning_rate=3e-3,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=rows("train"), eval_dataset=rows("val"))
    monitor = MonitorCallback(
        trainer, model.head, {"text": WIDTH, "image": WIDTH}, classes=store.classes, out="monitored"
    )
    trainer.add_callback(monitor)
    trainer.train()
    print(*monitor.diagnosis.verdict, sep="\n")
    for pair, told in monitor.diagnosis.interaction.items():
        print(f"{pair}: {told.kind['log_likelihood'] or 'no clear interaction'}, {told.log_likelihood.value:+.2f} nats")

    # the decision layer: fitted on the last evaluation pass, put back on what each modality alone gives
    rule = mmbal.fit_rule(mmbal.Predictions.load("monitored/predictions.npz"), "adaptive")
    layer = rule.to_module()  # a torch module of the parts, in the order of layer.modalities
    test = rows("test")
    batch = {key: torch.stack([torch.as_tensor(row[key]) for row in test]) for key in test[0]}
    weights = dict(zip(("text", "image"), model.head.weight.split(WIDTH, dim=1), strict=True))
    model.eval()
    with torch.no_grad():
        features = {
            "text": model.text(input_ids=batch["input_ids"]).last_hidden_state.mean(dim=1),
            "image": model.image(pixel_values=batch["pixel_values"]).last_hidden_state.mean(dim=1),
        }
        parts = {m: z @ weights[m].T + model.head.bias / 2 for m, z in features.items()}
        decided = {"as it is": model(**batch)["logits"], "with the fitted rule": layer(*parts.values())}
    for name, logits in decided.items():
        print(
            f"{name}: {float((logits.argmax(dim=1) == batch['labels']).float().mean()):.1%} of the test samples are right"
        )


if __name__ == "__main__":
    main()
