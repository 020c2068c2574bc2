"""Plain next-item training of semantic-ID recommenders, and the small world that the demo is trained on.

Importing this package is cheap: modules that need torch are imported by those who train.
"""

from sidebeam.training.error import TrainingError
from sidebeam.training.histories import History, Items, read_interactions
from sidebeam.training.world import World

__all__ = ["History", "Items", "TrainingError", "World", "read_interactions"]
