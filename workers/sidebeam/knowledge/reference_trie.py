"""What LASER's reference code keeps its pools in: a dictionary of tries of Python dictionaries. Only for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WINDOW = 13  # tokens stored after each root
PREFIX = 2  # tokens that are matched at most
ENOUGH = 12  # nodes at which no shorter match is tried


class TrieNode:
    """A token after its parent's, and how often."""

    __slots__ = ("children", "count")

    def __init__(self) -> None:
        self.children: dict[int, TrieNode] = {}
        self.count = 0


class ReferenceTrie:
    """Every window of every text below its first token. A draft lists the whole subtree and sorts it, as there."""

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        self._roots: dict[int, TrieNode] = {}
        for text in texts:
            for at in range(len(text) - 1):
                node = self._roots.setdefault(text[at], TrieNode())
                for token in text[at + 1 : at + 1 + WINDOW]:
                    node = node.children.setdefault(token, TrieNode())
                    node.count += 1

    def draft(self, end: Sequence[int], nodes: int) -> list[tuple[int, int]]:
        """Depth and token of up to `nodes` nodes, depth first."""
        found: list[tuple[int, int]] = []
        for length in range(PREFIX, 0, -1):
            node = self._follow(end[-length:])
            if node is None:
                continue
            counts: list[int] = []
            _list(node, counts)
            counts.sort(reverse=True)
            found = []
            _cut(node, counts[nodes - 1] if len(counts) > nodes else 0, nodes, 1, found)
            if len(found) + 1 >= ENOUGH:
                break
        return found

    def _follow(self, tokens: Sequence[int]) -> TrieNode | None:
        node = self._roots.get(tokens[0]) if tokens else None
        for token in tokens[1:]:
            node = None if node is None else node.children.get(token)
        return node


def _list(node: TrieNode, counts: list[int]) -> None:
    for child in node.children.values():
        counts.append(child.count)
        _list(child, counts)


def _cut(node: TrieNode, least: int, nodes: int, depth: int, found: list[tuple[int, int]]) -> None:
    for token, child in sorted(node.children.items(), key=lambda item: -item[1].count):
        if len(found) == nodes:
            return
        if child.count >= least:
            found.append((depth, token))
            _cut(child, least, nodes, depth + 1, found)
