"""Monitors in a loop of one's own, in Lightning and in Hugging Face's Trainer, on real small models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from digits import Concatenated, Modulated, Summed, digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from mmbal.diagnosis import Diagnosis
from mmbal.errors import DataError, UsageError
from mmbal.explain.monitor import Monitor, Reservoir
from mmbal.predictions.format import Predictions


@pytest.fixture(scope="module")
def val():
    return digits("val", most=100)


def run(model: nn.Module, monitor: Monitor, data, size: int = 32) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        for audio, image, labels in DataLoader(data, batch_size=size):
            model(audio, image)
            monitor.batch(labels)
    return monitor.epoch()


def test_the_parts_of_a_linear_head_are_its_own(val):
    torch.manual_seed(0)
    model = Concatenated()
    monitor = Monitor(model.head, {"audio": 16, "image": 16})
    figures = run(model, monitor, val)
    found = monitor.predictions()
    audio, image, labels = val.tensors
    with torch.no_grad():
        z = model.audio(audio), model.image(image)
        part = z[0] @ model.head.weight[:, :16].T + model.head.bias / 2
        np.testing.assert_allclose(found.contribution["audio"], part.numpy(), atol=1e-5)
        np.testing.assert_allclose(found.fused, model(audio, image).numpy(), atol=1e-5)
        alone = (part.argmax(dim=1) == labels).float().mean()
    assert figures["mmbal/accuracy/audio"] == pytest.approx(float(alone), abs=1e-6)
    assert figures["mmbal/contribution/audio"] + figures["mmbal/contribution/image"] == pytest.approx(1)
    assert figures["mmbal/feature_norm/image"] == pytest.approx(float(z[1].norm(dim=1).mean()), rel=1e-5)
    # the gradient of the loss with respect to z_audio is W_audio^T (p - y)
    p = torch.softmax(torch.from_numpy(found.fused).float(), dim=1) - nn.functional.one_hot(labels, 10)
    by_hand = (p @ model.head.weight[:, :16]).norm(dim=1).mean()
    assert figures["mmbal/gradient_norm/audio"] == pytest.approx(float(by_hand.detach()), rel=1e-4)


def test_a_sum_of_logits(val):
    model = Summed()
    monitor = Monitor({"audio": model.of_audio, "image": model.of_image})
    run(model, monitor, val)
    found = monitor.predictions()
    with torch.no_grad():
        np.testing.assert_allclose(found.fused, model(*val.tensors[:2]).numpy(), atol=1e-5)
        np.testing.assert_allclose(
            found.logits["image"], model.of_image(model.image(val.tensors[1])).numpy(), atol=1e-5
        )


def test_any_other_fusion_by_coalitions_of_features(val):
    model = Modulated()
    monitor = Monitor(model.fusion, ["audio", "image"])
    run(model, monitor, val)
    found = monitor.predictions()
    with torch.no_grad():
        z = model.audio(val.tensors[0]), model.image(val.tensors[1])
        zero = torch.zeros_like(z[0])
        np.testing.assert_allclose(found.subsets[("audio",)], model.fusion(z[0], zero).numpy(), atol=1e-5)
        np.testing.assert_allclose(found.subsets[("image",)], model.fusion(zero, z[1]).numpy(), atol=1e-5)
        np.testing.assert_allclose(found.subsets[()], model.fusion(zero, zero).numpy(), atol=1e-5)
        np.testing.assert_allclose(found.fused, model.fusion(*z).numpy(), atol=1e-5)


class Inputs(nn.Module):
    """The same fusion behind another signature."""

    def __init__(self, fusion: nn.Module, how: str) -> None:
        super().__init__()
        self.fusion, self.how = fusion, how

    def forward(self, *given, **named):
        if self.how == "named":
            return self.fusion(named["audio"], named["image"])
        if self.how == "mapping":
            return self.fusion(given[0]["audio"], given[0]["image"])
        if self.how == "one":
            return self.fusion(*given[0].chunk(2, dim=1))
        return {"logits": self.fusion(*given[0])}


@pytest.mark.parametrize("how", ["named", "mapping", "one", "list"])
def test_the_inputs_of_a_fusion_in_every_form(how, val):
    model = Modulated().eval()
    fusion = Inputs(model.fusion, how).eval()
    widths = {"audio": 16, "image": 16}
    monitor = Monitor(fusion, widths if how == "one" else list(widths))
    with torch.inference_mode():  # as in Lightning's validation
        a, i = model.audio(val.tensors[0]), model.image(val.tensors[1])
        calls = {"named": lambda: fusion(audio=a, image=i), "mapping": lambda: fusion({"audio": a, "image": i})}
        calls |= {"one": lambda: fusion(torch.cat([a, i], dim=1)), "list": lambda: fusion([a, i])}
        calls[how]()
        monitor.batch(val.tensors[2])
    monitor.epoch()
    with torch.no_grad():
        expected = model.fusion(torch.zeros_like(a), i).numpy()
    np.testing.assert_allclose(monitor.predictions().subsets[("image",)], expected, atol=1e-5)


def test_a_head_after_the_fusion(val):
    model = Modulated().eval()
    body, head = nn.Bilinear(16, 16, 8), nn.Linear(8, 10)
    monitor = Monitor(body.eval(), ["audio", "image"], head=lambda x: head(x.relu()))
    with torch.no_grad():
        z = model.audio(val.tensors[0]), model.image(val.tensors[1])
        expected = head(body(*z).relu())
        monitor.batch(val.tensors[2])
    monitor.epoch()
    np.testing.assert_allclose(monitor.predictions().fused, expected.numpy(), atol=1e-5)


def test_memory_is_bounded_and_every_sample_has_the_same_chance():
    counts = np.zeros(100)
    for seed in range(400):
        kept = Reservoir(10, seed)
        for start in range(0, 100, 7):
            rows = np.arange(start, min(start + 7, 100))
            kept.add({"a": rows, "b": np.stack([rows, -rows], axis=1)})
        assert len(kept.arrays["a"]) == 10
        np.testing.assert_array_equal(kept.arrays["b"][:, 1], -kept.arrays["a"])
        counts[kept.arrays["a"]] += 1
    assert abs(counts - 40).max() < 4.5 * np.sqrt(400 * 0.1 * 0.9)


def test_training_steps_are_not_watched_and_the_model_is_left_alone(val):
    model = Concatenated()
    monitor = Monitor(model.head, {"audio": 16, "image": 16}, limit=40)
    model.train()
    model(*val.tensors[:2])
    with pytest.raises(UsageError, match="not called in evaluation mode"):
        monitor.batch(val.tensors[2])
    run(model, monitor, val)
    assert len(monitor.predictions()) == 40
    assert all(p.grad is None for p in model.parameters())
    monitor.finish()
    assert not model.head._forward_pre_hooks


def test_what_can_not_be_watched(val):
    layer = nn.Linear(32, 10)
    with pytest.raises(UsageError, match="needs the width of each modality"):
        Monitor(layer, ["audio", "image"])
    with pytest.raises(UsageError, match="sum to 30, but the linear head takes 32"):
        Monitor(layer, {"audio": 15, "image": 15})
    with pytest.raises(UsageError, match="only one modality"):
        Monitor(layer, {"audio": 32})
    model = Concatenated().eval()
    monitor = Monitor(model.head, {"audio": 16, "image": 16})
    model(*val.tensors[:2])
    with pytest.raises(DataError, match="There are 3 labels for a batch of"):
        monitor.batch(val.tensors[2][:3])
    monitor = Monitor(model.audio, ["audio", "image"])
    model(*val.tensors[:2])
    with pytest.raises(UsageError, match="none of them could be told to be audio"):
        monitor.batch(val.tensors[2])


@pytest.mark.slow
def test_in_lightning(tmp_path, val):
    lightning = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.loggers import CSVLogger

    from mmbal.explain.lightning import MonitorCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Modulated()

        def training_step(self, batch, _):
            return cross_entropy(self.net(*batch[:2]), batch[2])

        def validation_step(self, batch, _):
            self.log("loss", cross_entropy(self.net(*batch[:2]), batch[2]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=3e-3)

    lightning.seed_everything(0, verbose=False)
    module = Module()
    monitor = MonitorCallback(module.net.fusion, ["audio", "image"], out=tmp_path / "monitored")
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=[monitor], logger=CSVLogger(tmp_path), accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, DataLoader(digits("train", most=320), 32, shuffle=True), DataLoader(val, 32))
    logged = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert "mmbal/accuracy/audio" in logged
    assert "mmbal/index" in logged
    found = Predictions.load(tmp_path / "monitored" / "predictions.npz")
    assert len(found) == len(val)
    with torch.no_grad():
        module.eval()
        np.testing.assert_allclose(found.fused, module.net(*val.tensors[:2]).numpy(), atol=1e-4)
    assert Diagnosis.load(tmp_path / "monitored" / "diagnosis.json").data.split == "val"
    assert monitor.diagnosis.accuracy.fused.value > 0.3


def tiny_model():
    """Text and image: BERT and ViT of a few thousand parameters, from their configurations."""
    from transformers import BertConfig, BertModel, ViTConfig, ViTModel

    class TextImage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
            self.text = BertModel(BertConfig(vocab_size=20, max_position_embeddings=8, **small))
            self.image = ViTModel(ViTConfig(image_size=28, patch_size=14, num_channels=1, **small))
            self.fusion = nn.Linear(32, 10)

        def forward(self, input_ids, pixel_values, labels=None):
            text = self.text(input_ids=input_ids).last_hidden_state[:, 0]
            image = self.image(pixel_values=pixel_values).last_hidden_state[:, 0]
            logits = self.fusion(torch.cat([text, image], dim=1))
            loss = None if labels is None else cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    return TextImage()


@pytest.mark.slow
def test_in_the_trainer_of_hugging_face(tmp_path, val):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from mmbal.explain.transformers import MonitorCallback

    def rows(data):
        return [
            {"input_ids": torch.full((3,), 2 + int(label)), "pixel_values": image.reshape(1, 28, 28), "labels": label}
            for _, image, label in data
        ]

    torch.manual_seed(0)
    model = tiny_model()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=32, per_device_eval_batch_size=32,
        eval_strategy="epoch", report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", learning_rate=1e-2,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model, arguments, train_dataset=rows(digits("train", most=320)), eval_dataset=rows(val)
    )
    monitor = MonitorCallback(trainer, model.fusion, {"text": 16, "image": 16}, out=tmp_path / "monitored")
    trainer.add_callback(monitor)
    trainer.train()
    logged = [line for line in trainer.state.log_history if "mmbal/accuracy/text" in line]
    assert len(logged) == 2
    assert logged[-1]["mmbal/accuracy/text"] > 0.5  # the text names the digit
    found = Predictions.load(tmp_path / "monitored" / "predictions.npz")
    assert found.modalities == ("text", "image")
    assert len(found) == len(val)
    d = Diagnosis.load(tmp_path / "monitored" / "diagnosis.json")
    assert d.capability["text"].value > 0.5  # the pictures are learnt worse
