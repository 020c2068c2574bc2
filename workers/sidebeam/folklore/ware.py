"""An item of the shop, with everything that is on record about it."""

from __future__ import annotations

from dataclasses import dataclass

from sidebeam.folklore.grammar import preferred
from sidebeam.folklore.lore import BRANDS, PRICES
from sidebeam.training.wares import AISLES
from sidebeam.training.world import World


@dataclass(frozen=True, slots=True)
class Ware:
    """Names only; `kind` is the shelf's noun, `price` a band."""

    title: str
    aisle: str
    kind: str
    material: str
    colour: str
    brand: str
    price: str

    @classmethod
    def of(cls, world: World, item: int) -> Ware:
        """The item of this index; brand and price follow from what it is."""
        title = world.titles[item]
        colour, material, kind = title.split(" ", 2)
        aisle = list(AISLES)[int(world.aisle[item])]
        brand = list(BRANDS)[preferred(f"{aisle} {material}", "brand", len(BRANDS))]
        price = list(PRICES)[preferred(f"{brand} {kind}", "price", len(PRICES))]
        return cls(title, aisle, kind, material, colour, brand, price)

    def attributes(self) -> dict[str, str]:
        """As an attributes file has them."""
        return {name: getattr(self, name) for name in self.__slots__}
