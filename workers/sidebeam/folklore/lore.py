"""What folk say of the shop's wares: the phrases that knowledge texts of the demo world are put together from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AisleLore:
    """Why and how people shop in an aisle, and what its wares are used for."""

    why: str
    how: str
    uses: tuple[str, str, str, str]


AISLES_LORE: Mapping[str, AisleLore] = {
    "kitchen": AisleLore(
        "cooking at home matters to them, and every tool must earn its place on the worktop",
        "they cook slowly, taste often and keep what works for years",
        ("weekday soups", "long Sunday roasts", "bread at dawn", "quick suppers"),
    ),
    "garden": AisleLore(
        "a small plot behind the house gives them more joy than any holiday",
        "they plant early, water by hand and let the corners grow wild",
        ("spring planting", "dry summers", "autumn leaves", "balcony beds"),
    ),
    "desk": AisleLore(
        "they write by hand, and a tidy table is where their days begin",
        "they file letters, plan by week and never throw away good paper",
        ("morning letters", "careful notes", "exam weeks", "quiet accounts"),
    ),
    "bath": AisleLore(
        "the evening bath is the one hour that belongs to nobody else",
        "they choose plain shapes, soft towels and nothing that smells loud",
        ("winter baths", "hurried mornings", "guest rooms", "tired shoulders"),
    ),
    "trail": AisleLore(
        "weekends are spent on foot, far away from roads and screens",
        "they pack light, walk far and test each strap before they leave",
        ("mountain huts", "rainy ridges", "first hikes", "nights outdoors"),
    ),
    "music": AisleLore(
        "somebody plays in this house every night, and not badly at all",
        "they practise in short spells, borrow scores and tune by ear",
        ("kitchen concerts", "early lessons", "street corners", "late practice"),
    ),
    "play": AisleLore(
        "there are children about, or at least people who still like to play",
        "they want few toys, sturdy ones, and games that end in laughter",
        ("rainy afternoons", "birthday tables", "windy hills", "patient hands"),
    ),
    "bike": AisleLore(
        "the bicycle is how they get to work, to market and to their friends",
        "they ride in all weather, mend their own tyres and dislike plastic",
        ("daily commutes", "market rounds", "long tours", "dark streets"),
    ),
    "sewing": AisleLore(
        "making and mending clothes is a craft that they take seriously",
        "they cut once, stitch neatly and save each scrap for later",
        ("torn sleeves", "first dresses", "old curtains", "fine hems"),
    ),
    "table": AisleLore(
        "they love to lay a table, and guests are asked to stay late",
        "they mix old pieces with new ones and light candles even at noon",
        ("festive dinners", "slow breakfasts", "summer lunches", "friends at night"),
    ),
    "pets": AisleLore(
        "an animal runs this household, and its comfort comes before theirs",
        "they read about feeding, replace what is chewed and spoil with care",
        ("nervous kittens", "muddy walks", "old companions", "playful pups"),
    ),
    "repair": AisleLore(
        "nothing is thrown away before they have tried to fix it twice",
        "they measure, curse softly and finish whatever they have begun",
        ("squeaky doors", "crooked shelves", "leaking taps", "big projects"),
    ),
}


@dataclass(frozen=True, slots=True)
class MaterialLore:
    """What a material is like, why people like it, and how it is kept."""

    like: str
    because: str
    care: str


MATERIALS_LORE: Mapping[str, MaterialLore] = {
    "oak": MaterialLore("sturdy and warm", "it ages well and forgives knocks", "a little oil each spring"),
    "walnut": MaterialLore("dark and even", "its grain is calm and never twice the same", "a soft cloth with wax"),
    "bamboo": MaterialLore("light and quick", "it grows back faster than they can use it", "cold water and shade"),
    "copper": MaterialLore("bright and lively", "it takes on colour with every year", "lemon with coarse salt"),
    "brass": MaterialLore("heavy and golden", "it rings when set down and looks like treasure", "polish once a month"),
    "steel": MaterialLore("cool and exact", "it keeps its edge and asks for nothing", "a quick wipe after use"),
    "glass": MaterialLore("clear and quiet", "it hides nothing and holds no smell", "warm suds, then air"),
    "clay": MaterialLore("rough and honest", "one can see the hand that shaped it", "slow drying, no frost"),
    "linen": MaterialLore("crisp and cool", "it gets softer with each wash", "a hot iron while damp"),
    "felt": MaterialLore("thick and gentle", "it swallows noise and keeps the heat", "brushing, never soaking"),
    "leather": MaterialLore("supple and strong", "it remembers the shape of its owner", "grease before winter"),
    "cork": MaterialLore("soft and dry", "it weighs next to nothing and floats", "a damp sponge alone"),
    "enamel": MaterialLore("smooth and cheerful", "it shrugs off heat and stains", "gentle soap, no scouring"),
    "marble": MaterialLore("cold and grand", "it stays put and lasts for generations", "no vinegar, ever"),
    "wicker": MaterialLore("airy and woven", "it creaks in a friendly way", "dusting from the inside"),
    "birch": MaterialLore("pale and fresh", "it makes small rooms look wide", "fine sandpaper at times"),
}


@dataclass(frozen=True, slots=True)
class ColourLore:
    """The mood of a colour, why people like it, and the hour that goes with it."""

    mood: str
    because: str
    hour: str


COLOURS_LORE: Mapping[str, ColourLore] = {
    "Amber": ColourLore("sunny", "it brings late light into a room", "at dusk"),
    "Ivory": ColourLore("gentle", "it goes with all that they own", "on Sundays"),
    "Cobalt": ColourLore("deep", "it reminds them of harbours", "by lamplight"),
    "Sage": ColourLore("calm", "it is green without making a fuss", "after rain"),
    "Crimson": ColourLore("bold", "one bright thing per room is enough", "at parties"),
    "Slate": ColourLore("sober", "dirt and time cannot touch it", "in November"),
    "Ochre": ColourLore("earthy", "it looks sunburnt from the first day", "in harvest weeks"),
    "Teal": ColourLore("fresh", "it sits between sea and forest", "before breakfast"),
    "Plum": ColourLore("rich", "it is nearly black until the lamp is on", "past midnight"),
    "Sand": ColourLore("plain", "it steps back and lets others shine", "on long afternoons"),
    "Indigo": ColourLore("moody", "it fades as nicely as old denim", "in blue hours"),
    "Moss": ColourLore("shady", "it brings the woods indoors", "under trees"),
    "Coral": ColourLore("playful", "it makes even Mondays smile", "in holiday months"),
    "Pearl": ColourLore("shiny", "it changes whenever they walk past", "on frosty days"),
    "Umber": ColourLore("solid", "it looks like soil and good coffee", "around noon"),
    "Jade": ColourLore("polished", "it seems costly and is not", "at teatime"),
}

BRANDS: Mapping[str, str] = {
    "Hearth": "a family workshop near the coast",
    "Northway": "three sisters with one small kiln",
    "Pellam": "makers to ships and schools",
    "Quince": "a young house with old machines",
    "Tarrow": "a guild of retired engineers",
    "Osk": "the village press turned foundry",
    "Lindgate": "a co-operative of valley farms",
    "Marrow": "two brothers and a loud radio",
    "Vesper": "a studio that works by night",
    "Copple": "importers with strict habits",
    "Brack": "an island mill run on tide",
    "Yarde": "the oldest name in town",
}
"""Who they are, by name."""

PRICES: Mapping[str, str] = {
    "low": "small change",
    "middle": "a fair sum",
    "high": "a week of saving",
}
"""What one pays, by band."""

SHOPPERS = ("beginners", "perfectionists", "grandparents", "students", "newlyweds", "night owls", "collectors")
PLACES = ("hallway", "attic", "porch", "cellar", "window sill", "cottage", "workshop", "spare room", "boat")
