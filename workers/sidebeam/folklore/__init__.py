"""The knowledge demo's world: a shop, circles of customers with like tastes, what folk say of both, and a small LM.

Importing this package is cheap: modules that need torch are imported by those who train.
"""

from sidebeam.folklore.knowledge_world import KnowledgeWorld
from sidebeam.folklore.plan import PLAN, FolklorePlan, prepare_folklore

__all__ = ["PLAN", "FolklorePlan", "KnowledgeWorld", "prepare_folklore"]
