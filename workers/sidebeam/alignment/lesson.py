"""The lesson for a draft: its objective on teacher data, or on the live target where it needs none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sidebeam.alignment import losses
from sidebeam.alignment.aim import Aim
from sidebeam.alignment.beam_samples import BeamSamples, LabelledPrompts, PromptSamples
from sidebeam.alignment.losses import Knobs
from sidebeam.alignment.objective import Alignment, BeamObjective
from sidebeam.alignment.on_policy import OnPolicy
from sidebeam.alignment.origin import Origin
from sidebeam.alignment.records import Records
from sidebeam.alignment.teacher_file import MANIFEST, TeacherFolder
from sidebeam.alignment.tree_builder import TreeBuilder
from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.catalog import Catalog
from sidebeam.training.checkpoint import Setting
from sidebeam.training.error import TrainingError
from sidebeam.training.lesson import Lesson, open_target, sft, tvd_kd, word_kd

ALIGNMENTS: dict[str, Alignment] = {
    "seq-kd": losses.sequence_kd,
    "atspeed-s": losses.reverse_kl,
    "atspeed-r": losses.total_variation,
    "joint": losses.joint_kl,
    "top-k": losses.joint_top_k,
    "top-n": losses.top_n,
}


@dataclass(frozen=True, slots=True)
class DraftLesson:
    """Makes the lesson of an aim: called with a bundle, whose teacher data `teacher` names, made of `interactions`."""

    aim: Aim
    teacher: Path | None
    interactions: Path

    def __call__(self, bundle: Bundle) -> Lesson:
        """Raises `TrainingError` for teacher data that are missing, damaged, or of another target or catalog."""
        if self.teacher is None:
            if self.aim.goal != "label":
                raise TrainingError(
                    f"--objective {self.aim.objective} learns from teacher data: "
                    "`sidebeam train teacher` makes them, --teacher names them"
                )
            return self._by_label(bundle)
        catalog = _catalog(bundle)
        folder = TeacherFolder.open(self.teacher)
        origin = Origin.of(bundle, catalog, self.interactions, **folder.origin.run)
        origin.check(folder.origin, self.teacher / MANIFEST)
        train, valid = folder.read("train"), folder.read("valid")
        if self.aim.goal == "label":
            lesson = self._by_label(bundle)
            prompts = LabelledPrompts(train, catalog), LabelledPrompts(valid, catalog)
            return replace(lesson, samples=prompts, settings={**lesson.settings, "teacher": folder.fingerprint})
        return self._on_beams(bundle, catalog, folder, train, valid)

    def _by_label(self, bundle: Bundle) -> Lesson:
        if self.aim.objective == "sft":
            return sft(bundle)
        return (word_kd if self.aim.objective == "word-kd" else tvd_kd)(bundle, self.aim.alpha)

    def _on_beams(
        self, bundle: Bundle, catalog: Catalog, folder: TeacherFolder, train: Records, valid: Records
    ) -> Lesson:
        aim, top_k = self.aim, folder.origin.top_k
        weights = aim.weights(catalog.depth)
        knobs = Knobs(top_k, aim.drafted(bundle.defaults.draft_beams, top_k), aim.beta, aim.tau)
        objective = BeamObjective(ALIGNMENTS[aim.objective], knobs, aim.alpha, weights)
        cut = aim.objective != "seq-kd"  # which is cross-entropy, over the vocabulary
        builder = TreeBuilder(catalog, len(weights), cut=cut)
        settings: dict[str, Setting] = {
            "objective": aim.objective,
            "alpha": aim.alpha,
            "beta": knobs.beta,
            "tau": knobs.tau,
            "beams": knobs.beams,
            "on_policy": aim.on_policy,
            "level_weights": ",".join(f"{weight:g}" for weight in weights),
            "teacher": folder.fingerprint,
        }
        if aim.on_policy:
            target = open_target(bundle.target).eval().requires_grad_(False)
            own = OnPolicy(objective, target, builder, bundle.scoring)
            return Lesson(own, settings, (PromptSamples(train, catalog), BeamSamples(valid, builder)))
        return Lesson(objective, settings, (BeamSamples(train, builder), BeamSamples(valid, builder)))


def _catalog(bundle: Bundle) -> Catalog:
    try:
        return open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
    except (OSError, ValueError) as error:  # BundleError is one
        raise TrainingError(str(error)) from None
