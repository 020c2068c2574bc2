"""The study finds what is there, finds nothing where nothing is, and never looks at the test before the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sidebeam.downstream import trial
from sidebeam.downstream.din import Din
from sidebeam.downstream.error import DownstreamError
from sidebeam.downstream.features import TextFeatures, TextFiles, _spread
from sidebeam.downstream.samples import ClickLog, Samples
from sidebeam.downstream.study import NONE, StudyPlan, run_study
from sidebeam.downstream.trial import ClickRecipe, run_trial
from sidebeam.grouping import UserLog
from sidebeam.grouping.hashing import HashingEncoder

from .conftest import write_texts

RECIPE = ClickRecipe(dim=8, epochs=8, batch_size=64, learning_rate=1e-2)
PLAN = StudyPlan(seeds=3, history=4, negatives=2)


@pytest.fixture(scope="module")
def log(logs: list[UserLog]) -> ClickLog:
    return ClickLog.of(logs)


def test_texts_that_tell_more_than_histories_are_worth_it(log: ClickLog, told: dict[str, Path]) -> None:
    arms = [TextFiles("both", told["users"], told["items"]), TextFiles("blank", told["blank"])]
    findings = run_study(log, arms, HashingEncoder(64), PLAN, RECIPE)
    assert list(findings.scores) == [NONE, "both", "blank"]
    assert findings.mean(NONE, "auc").value < 0.6  # nothing to learn but noise
    assert findings.mean("both", "auc").value > 0.72  # 0.785 at best: negatives may be of the right side, too
    assert findings.mean("both", "log_loss").high < findings.mean(NONE, "log_loss").low
    both, blank, between = findings.differences()
    assert (both.arm, both.less) == ("both", NONE)
    assert both.auc.low > 0.1
    assert blank.auc.low < 0.05
    assert (between.arm, between.less) == ("blank", "both")
    assert between.log_loss.low > 0
    assert findings.coverage["both"].users == findings.coverage["both"].items == 1
    assert findings.coverage["blank"].items is None


def test_the_same_texts_differ_by_nothing_at_all(log: ClickLog, told: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(told["users"].read_bytes())
    arms = [TextFiles("exact", told["users"]), TextFiles("relaxed", copy)]
    findings = run_study(log, arms, HashingEncoder(32), replace(PLAN, seeds=2), replace(RECIPE, epochs=2))
    assert findings.scores["exact"] == findings.scores["relaxed"]
    assert findings.differences()[-1].auc.value == 0
    again = run_study(log, arms, HashingEncoder(32), replace(PLAN, seeds=2), replace(RECIPE, epochs=2))
    assert again.scores == findings.scores


def test_the_epoch_is_chosen_on_validation_users_alone(log: ClickLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels of the test users change the test's figures, and neither the epoch nor the model."""
    split = log.split(0, history=4, negatives=2)
    first = run_trial(split, len(log.items), TextFeatures(), RECIPE, seed=0)
    turned = replace(split, test=replace(split.test, labels=~split.test.labels))
    other = run_trial(turned, len(log.items), TextFeatures(), RECIPE, seed=0)
    assert (other.epoch, other.valid_log_loss) == (first.epoch, first.valid_log_loss)
    assert other.auc == pytest.approx(1 - first.auc)
    looked: list[int] = []
    logits = trial._logits

    def spy(model: Din, samples: Samples) -> trial.Floats:
        looked.append(len(looked) if samples is split.test else -1)
        return logits(model, samples)

    monkeypatch.setattr(trial, "_logits", spy)
    run_trial(split, len(log.items), TextFeatures(), RECIPE, seed=0)
    assert [each for each in looked if each >= 0] == [len(looked) - 1]  # once, at the end


def test_training_ends_early_with_the_best_epochs_weights(log: ClickLog) -> None:
    split = log.split(1, history=4, negatives=2)
    long = run_trial(split, len(log.items), TextFeatures(), replace(RECIPE, epochs=60, patience=2), seed=1)
    assert long.epoch < 58
    short = run_trial(split, len(log.items), TextFeatures(), replace(RECIPE, epochs=long.epoch, patience=60), seed=1)
    assert short == long


def test_padding_and_missing_texts_say_nothing() -> None:
    """A history padded further has the same logit; a user without a text the same as any other without one."""
    torch.manual_seed(0)
    table = np.zeros((3, 5), np.float32)
    table[0] = [0.5, 0.5, 0.5, 0.5, 1]
    model = Din(6, 4, TextFeatures(users=table)).eval()
    target = torch.tensor([3])
    short = model(torch.tensor([0]), torch.tensor([[0, 2, 5]]), target)
    long = model(torch.tensor([0]), torch.tensor([[0, 0, 0, 2, 5]]), target)
    assert torch.allclose(short, long)
    assert not torch.allclose(short, model(torch.tensor([1]), torch.tensor([[0, 2, 5]]), target))
    assert torch.equal(
        model(torch.tensor([1]), torch.tensor([[1]]), target), model(torch.tensor([2]), torch.tensor([[1]]), target)
    )


@torch.no_grad()
def test_attention_depends_on_the_shown_item() -> None:
    torch.manual_seed(0)
    model = Din(6, 4, TextFeatures()).eval()
    users = torch.zeros(2, dtype=torch.int64)
    one, other = (model(users, torch.tensor([[1, 2], history]), torch.tensor([3, 3])) for history in ([2, 1], [1, 4]))
    assert one[0] == pytest.approx(float(one[1]), abs=1e-6)  # a sum: the order does not count
    assert abs(float(other[0] - other[1])) > 1e-6


def test_texts_of_nobody_and_bad_files(log: ClickLog, tmp_path: Path) -> None:
    strangers = write_texts(tmp_path / "s.jsonl", {"nobody": "x"})
    with pytest.raises(DownstreamError, match=r"--user-texts a: .*s\.jsonl holds no text of any entity"):
        TextFiles("a", strangers).features(log, HashingEncoder(8))
    with pytest.raises(DownstreamError, match=r"--item-texts a: .*none: cannot be read"):
        TextFiles("a", None, tmp_path / "none").features(log, HashingEncoder(8))
    some = write_texts(tmp_path / "p.jsonl", {f"i{item}": "oak" for item in range(10)})
    features, coverage = TextFiles("a", None, some).features(log, HashingEncoder(8))
    assert coverage.items == 0.25
    assert features.items is not None
    assert features.items.shape == (41, 9)
    assert not features.items[0].any()
    assert features.items[:, -1].sum() == 10


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: StudyPlan(seeds=0), "--seeds must be at least 1; given 0"),
        (lambda: StudyPlan(negatives=0), "--negatives must be at least 1"),
        (lambda: StudyPlan(history=0), "--history must be at least 1"),
        (lambda: ClickRecipe(epochs=0), "--epochs must be at least 1"),
        (lambda: ClickRecipe(learning_rate=0.0), "--lr must be above 0"),
        (lambda: ClickRecipe(weight_decay=-1.0), "--weight-decay must be at least 0"),
    ],
)
def test_bad_settings(make: object, says: str) -> None:
    with pytest.raises(DownstreamError, match=says):
        make()  # type: ignore[operator]


def test_a_rate_that_explodes_is_named(log: ClickLog) -> None:
    split = log.split(0, history=4, negatives=1)
    with pytest.raises(DownstreamError, match="epoch 1: predictions are not finite; a lower --lr may help"):
        run_trial(split, len(log.items), TextFeatures(), replace(RECIPE, learning_rate=1e30), seed=0)


def test_features_lie_about_zero_and_weights_are_averaged() -> None:
    random = np.random.default_rng(0)
    vectors = _spread((5 + 0.01 * random.normal(size=(50, 8))).astype(np.float32))
    assert np.allclose(vectors.mean(axis=0), 0, atol=1e-3)
    assert np.square(vectors).mean() == pytest.approx(1, abs=1e-3)
    assert not _spread(np.ones((3, 2), np.float32)).any()
    mean = [torch.zeros(2)]
    for step in range(1, 400):
        trial._average(mean, [torch.full((2,), float(step % 2))], step)
    assert mean[0].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    start = [torch.zeros(1)]
    for step in range(1, 20):
        trial._average(start, [torch.ones(1)], step)
    assert float(start[0]) > 0.99  # a first weight is soon forgotten, however few steps there are
