"""What was told before, in pools: grouped as a team would group it, who knows logs and attributes but no circles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from sidebeam.grouping.job import GroupingJob
from sidebeam.knowledge.builder import Built, build_pools
from sidebeam.knowledge.tokenizer import TextTokenizer, end_token, tokenizer_fingerprint
from sidebeam.training.progress import ProgressBar

TEXTS, GROUPS, POOLS = "texts-old.jsonl", "groups.json", "pools"  # both kinds of entities in one


def pool_earlier_texts(folder: Path, user_groups: int, seed: int, bar: ProgressBar) -> Built:
    """Builds `pools` of a world's old texts, beside the files they come from: `texts-old.jsonl`, `groups.json`.

    Users are grouped by what they had done by then, items by their attributes; `folder` holds the world and `target`.
    """
    texts = (folder / f"texts-{kind}-old.jsonl" for kind in ("users", "items"))
    (folder / TEXTS).write_bytes(b"".join(path.read_bytes() for path in texts))
    (folder / GROUPS).write_text(json.dumps(_groups(folder, user_groups, seed, bar)) + "\n", encoding="utf-8")
    target = folder / "target"
    return build_pools(
        folder / TEXTS,
        folder / GROUPS,
        TextTokenizer.open(target),
        folder / POOLS,
        bar,
        fingerprint=tokenizer_fingerprint(target),
        eos=end_token(target),
    )


def _groups(folder: Path, user_groups: int, seed: int, bar: ProgressBar) -> dict[str, str]:
    logs, attributes = folder / "interactions-old.jsonl", folder / "attributes.jsonl"
    with tempfile.TemporaryDirectory() as made:
        users = GroupingJob(
            interactions=logs, out=Path(made) / "users.json", of="users", groups=user_groups, threshold=1, seed=seed
        )
        items = GroupingJob(
            interactions=logs, out=Path(made) / "items.json", of="items", groups=0, attributes=attributes
        )
        return {**users.run(bar), **items.run(bar)}
