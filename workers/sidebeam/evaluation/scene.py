"""What an evaluation was made with: everything that somebody needs to make it again."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.evaluation.cohort import Cohort
from sidebeam.evaluation.interval import LEVEL, RESAMPLES
from sidebeam.evaluation.options import DRAFTS, Options
from sidebeam.search import DraftSettings


@dataclass(frozen=True, slots=True)
class Scene:
    """Plain values, ready to be written as JSON."""

    made: str  # when
    versions: dict[str, str]
    machine: dict[str, Any]
    bundle: dict[str, Any]
    users: dict[str, Any]
    settings: dict[str, Any]

    @classmethod
    def of(
        cls, bundle: Bundle, catalog: Catalog, cohort: Cohort, model_draft: DraftSettings, options: Options
    ) -> Scene:
        """Takes stock."""
        folders = {name: str(folder) for name, folder in options.draft_folders.items()}
        return cls(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=_versions(),
            machine={
                "processor": _processor(),
                "cores": os.cpu_count(),
                "threads": options.threads,
                "device": torch.cuda.get_device_name(options.device) if "cuda" in options.device else options.device,
                "dtype": options.dtype,
            },
            bundle={
                "name": bundle.root.name,
                "catalog_version": catalog.version,
                "items": catalog.n_items,
                "sids": catalog.n_leaves,
                "sid_length": catalog.depth,
                "scoring": bundle.scoring,
                "max_history": bundle.prompt.max_history,
                "draft": bundle.draft is not None,
            },
            users={
                "measured": len(cohort.users),
                "test_users": cohort.test_users,
                "without_history": cohort.without_history,
                "learned_from": len(cohort.others),
                "mean_truth": float(np.mean(cohort.truth_sizes)),
            },
            settings={
                "bundle": str(options.bundle),
                "interactions": str(options.interactions),
                "top_k": list(options.widths),
                "verification": list(options.verifications),
                "temperature": options.temperature if "relaxed" in options.verifications else None,
                "seed": options.seed,
                "users": options.users,
                "drafts": list(options.drafts or DRAFTS),
                "draft_beams": model_draft.beams,
                "draft_length": model_draft.length,
                "draft_folders": folders,
                "generate": options.generate,
                "learn": options.learn,
                "resamples": RESAMPLES,
                "confidence": LEVEL,
            },
        )

    def as_json(self) -> dict[str, Any]:
        """By group."""
        return asdict(self)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    found |= {"transformers": transformers.__version__, "numpy": np.__version__}
    with contextlib.suppress(metadata.PackageNotFoundError):  # run from a folder that is not installed
        found["sidebeam"] = metadata.version("sidebeam")
    return found


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
