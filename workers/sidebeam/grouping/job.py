"""One grouping: files in, a group per entity out."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidebeam.grouping.attribute_groups import AttributeSplit, attribute_groups, usable_attributes
from sidebeam.grouping.attributes import Attributes, read_attributes
from sidebeam.grouping.embeddings import Embeddings
from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.groups_file import write_groups
from sidebeam.grouping.interactions import Kind, UserLog, interaction_counts, read_logs
from sidebeam.grouping.light_gcn import LightGcnRecipe, train_light_gcn
from sidebeam.grouping.router import GLOBAL, THRESHOLD, Router
from sidebeam.grouping.texts_file import read_texts

if TYPE_CHECKING:
    from sidebeam.training.progress import ProgressBar

TEXT_DIM = 256
NEAR = re.compile(r"near \d+")  # attribute groups have an equals sign, or are a rest
SHOWN = 3  # groups that a message names


@dataclass(frozen=True, slots=True)
class GroupingJob:
    """What to group, by what, into how many collaborative groups; 0: by attributes alone.

    Vectors are those of `embeddings`, or made of `texts`, or trained from the interactions.
    """

    interactions: Path
    out: Path
    of: Kind
    groups: int
    attributes: Path | None = None
    embeddings: Path | None = None
    texts: Path | None = None
    save_embeddings: Path | None = None
    threshold: int = THRESHOLD
    split: AttributeSplit = field(default_factory=AttributeSplit)
    recipe: LightGcnRecipe = field(default_factory=LightGcnRecipe)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.groups < 0:
            raise GroupingError(f"--groups must be at least 0; given {self.groups}")
        if self.seed < 0:
            raise GroupingError(f"--seed must be at least 0; given {self.seed}")
        if self.threshold < 0:
            raise GroupingError(f"--threshold must be at least 0; given {self.threshold}")
        for option in ("out", "save_embeddings"):  # training may be long, and must not be for nothing
            path = getattr(self, option)
            if path is not None and not path.parent.is_dir():
                raise GroupingError(f"--{option.replace('_', '-')} must be in a folder that is there; given {path}")
        if not self.groups and self.attributes is None:
            raise GroupingError("--groups 0 leaves attribute groups alone, which need --attributes")
        if self.embeddings is not None and self.texts is not None:
            raise GroupingError("--embeddings and --texts both bring vectors; take one of them")
        if not self.groups:
            for option in ("embeddings", "texts", "save_embeddings"):
                if getattr(self, option) is not None:
                    raise GroupingError(f"--{option.replace('_', '-')} is for collaborative groups; given --groups 0")
        if self.save_embeddings is not None and self.save_embeddings.suffix != ".npz":
            raise GroupingError(f"--save-embeddings must end in .npz; given {self.save_embeddings}")

    def run(self, bar: ProgressBar | None = None) -> dict[str, str]:
        """Groups every entity of the interactions and of the attributes, and writes the files.

        Raises `GroupingError`; nothing is then written.
        """
        logs = read_logs(self.interactions)
        counts = interaction_counts(logs, self.of)
        attributes = {} if self.attributes is None else read_attributes(self.attributes)
        by_attribute = attribute_groups(attributes, self.split) if attributes else {}
        near, source, vectors = self._collaborative(logs, bar)
        router = Router(near, by_attribute, counts, self.threshold)
        groups = router.groups(dict.fromkeys((*counts, *attributes)))
        if vectors is not None and self.save_embeddings is not None:
            vectors.write(self.save_embeddings)
        write_groups(self.out, groups, self._made(source, attributes))
        return groups

    def _collaborative(
        self, logs: list[UserLog], bar: ProgressBar | None
    ) -> tuple[Mapping[str, str], Mapping[str, Any], Embeddings | None]:
        if not self.groups:
            return {}, {"vectors": "none"}, None
        from sidebeam.grouping.collaborative import collaborative_groups
        from sidebeam.grouping.hashing import HashingEncoder

        source: dict[str, Any]
        if self.embeddings is not None:
            vectors, source = Embeddings.open(self.embeddings), {"vectors": "file"}
        elif self.texts is not None:
            texts = read_texts(self.texts)
            vectors = Embeddings(tuple(texts), HashingEncoder(TEXT_DIM).encode(list(texts.values())))
            source = {"vectors": "texts", "dim": TEXT_DIM}
        else:
            from sidebeam.grouping.bipartite import Bipartite

            graph = Bipartite.of(logs)
            entities = len(graph.users if self.of == "users" else graph.items)
            if self.groups > entities:
                raise GroupingError(
                    f"--groups must be at most {entities}, the number of {self.of}; given {self.groups}"
                )
            trained = train_light_gcn(graph, self.recipe, bar)
            vectors = trained.embeddings(self.of)
            source = {"vectors": "LightGCN", **asdict(self.recipe), "valid_loss": trained.valid_loss}
        return collaborative_groups(vectors, self.groups, self.seed), source, vectors

    def _made(self, source: Mapping[str, Any], attributes: Attributes) -> dict[str, Any]:
        files = {name: getattr(self, name) for name in ("interactions", "attributes", "embeddings", "texts")}
        return {
            "of": self.of,
            "groups": self.groups,
            "threshold": self.threshold,
            "seed": self.seed,
            "by": list(self.split.by or usable_attributes(attributes)),
            "largest": self.split.largest,
            "smallest": self.split.smallest,
            "source": dict(source),
            "sha256": {
                name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path is not None
            },
        }


def told(job: GroupingJob, groups: Mapping[str, str]) -> str:
    """What was made, in a few lines; groups that could not be split further are named."""
    sizes = Counter(groups.values())
    near = {group: size for group, size in sizes.items() if NEAR.fullmatch(group)}
    alike = {group: size for group, size in sizes.most_common() if group not in near and group != GLOBAL}
    lines = [
        f"{job.out}: {len(groups):,} {job.of} in {len(sizes):,} groups; {sum(near.values()):,} by what they did, "
        f"{sum(alike.values()):,} by attributes, {sizes.get(GLOBAL, 0):,} in {GLOBAL!r}"
    ]
    large = [f"{group} ({size:,})" for group, size in alike.items() if size > job.split.largest]
    if large:
        some = ", ".join(large[:SHOWN])
        lines.append(f"larger than {job.split.largest:,} with no attribute left to split by: {some}")
    return "\n".join(lines)
