"""The names of what the demo's shop sells."""

from __future__ import annotations

from collections.abc import Mapping

AISLES: Mapping[str, tuple[str, ...]] = {
    "kitchen": ("kettle", "skillet", "whisk", "teapot", "ladle", "salad bowl", "bread knife", "spice jar"),
    "garden": ("trowel", "watering can", "plant pot", "rake", "bird feeder", "hose reel", "lantern", "bench"),
    "desk": ("notebook", "pen tray", "desk lamp", "paper knife", "bookend", "inkwell", "letter rack", "ruler"),
    "bath": ("soap dish", "towel rail", "bath brush", "mirror", "sponge basket", "robe hook", "stool", "tumbler"),
    "trail": ("backpack", "flask", "walking pole", "head torch", "camp mug", "sleeping mat", "compass", "rain cape"),
    "music": ("ukulele", "metronome", "music stand", "tambourine", "harmonica", "drum pad", "capo", "tuning fork"),
    "play": ("kite", "puzzle", "spinning top", "chess set", "marble run", "yo-yo", "doll house", "train set"),
    "bike": ("bell", "pannier", "saddle", "pump", "bottle cage", "handlebar bag", "mudguard", "bike light"),
    "sewing": ("thimble", "pin cushion", "button box", "yarn bowl", "scissors", "bobbin case", "hoop", "tape measure"),
    "table": ("candlestick", "napkin ring", "carafe", "cake stand", "egg cup", "salt mill", "tray", "butter dish"),
    "pets": ("cat bed", "dog lead", "food bowl", "scratching post", "bird perch", "brush", "toy mouse", "travel crate"),
    "repair": ("hammer", "spirit level", "toolbox", "hand drill", "vice", "chisel", "paint tin", "workbench"),
}
"""Shelves by aisle."""

MATERIALS = (
    "oak", "walnut", "bamboo", "copper", "brass", "steel", "glass", "clay",
    "linen", "felt", "leather", "cork", "enamel", "marble", "wicker", "birch",
)  # fmt: skip

COLOURS = (
    "Amber", "Ivory", "Cobalt", "Sage", "Crimson", "Slate", "Ochre", "Teal",
    "Plum", "Sand", "Indigo", "Moss", "Coral", "Pearl", "Umber", "Jade",
)  # fmt: skip
