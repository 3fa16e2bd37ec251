"""What the picture of the RFM grid says: its words, and the grid told in them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from features.lifecycle.segments import SIZES
from serving.pictures.words import SHEET_WORDS, Numerals, SheetWords
from serving.rfm_grid import CellFlow, GridCell, RfmGrid

_SHOWN_FLOWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GridWords(SheetWords):
    """The fixed words of the picture in one language, besides those of every picture."""

    title: str
    sizes: Mapping[str, str]
    all: str
    below: str
    between: str
    least: str
    moves: str
    value: str
    year_value: str
    shade: str
    moves_meaning: str
    value_meaning: str
    flows: str


GRID_WORDS = {
    "en": GridWords(
        **SHEET_WORDS["en"],
        title="RFM groups by customer size",
        sizes={"small": "Small customers", "medium": "Medium customers", "large": "Large customers"},
        all="All",
        below="value below {}",
        between="value {} to {}",
        least="value from {}",
        moves="Leaves the cell",
        value="Value",
        year_value="12-month value",
        shade="The darker a cell, the more of all customers stand in it today; the per cent beside is their share.",
        moves_meaning="Leaves the cell: share of its customers expected to stand in another one {}",
        value_meaning="Value: of all orders so far; + what comes in from other cells and − what goes out to them, {}",
        flows="Largest expected moves",
    ),
    "fr": GridWords(
        **SHEET_WORDS["fr"],
        title="Groupes RFM par taille de client",
        sizes={"small": "Petits clients", "medium": "Clients moyens", "large": "Gros clients"},
        all="Total",
        below="valeur inférieure à {}",
        between="valeur de {} à {}",
        least="valeur à partir de {}",
        moves="Quitte la case",
        value="Valeur",
        year_value="Valeur à 12 mois",
        shade="Plus une case est foncée, plus elle compte de clients aujourd'hui\u202f; le pourcentage est leur part "
        "du total.",
        moves_meaning="Quitte la case\u202f: part de ses clients attendus dans une autre case {}",
        value_meaning="Valeur\u202f: de toutes les commandes à ce jour\u202f; + ce qui arrive d'autres cases et − ce "
        "qui part vers elles, {}",
        flows="Principaux mouvements attendus",
    ),
}


@dataclass(frozen=True, slots=True)
class GridSheet:
    """All that the parts of the picture are drawn from; `groups` are the labels of the rows, in order."""

    grid: RfmGrid
    as_of: str
    horizon_days: int
    groups: Mapping[str, str]
    cells: Mapping[tuple[str, str], GridCell]
    words: GridWords
    numerals: Numerals

    @property
    def within(self) -> str:
        """In how many days what is expected will be."""
        return self.words.within(self.horizon_days)

    def row(self, group: str) -> tuple[GridCell, ...]:
        """Return the cells of a group."""
        return tuple(self.cells[group, size] for size in SIZES)

    def column(self, size: str) -> tuple[GridCell, ...]:
        """Return the cells of a size."""
        return tuple(self.cells[group, size] for group in self.groups)


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over some cells."""

    customers: int
    share: float
    historic_value: float
    clv_12m: float
    expected_customers: float


def sum_cells(cells: Iterable[GridCell]) -> Total:
    """Sum over cells."""
    listed = tuple(cells)
    return Total(
        sum(cell.customers for cell in listed),
        math.fsum(cell.share for cell in listed),
        math.fsum(cell.historic_value for cell in listed),
        math.fsum(cell.clv_12m for cell in listed),
        math.fsum(cell.expected_customers for cell in listed),
    )


def band_words(sheet: GridSheet, band: Mapping[str, Any]) -> str:
    """Say from where to where the value of a size goes."""
    words, numerals, least, below = sheet.words, sheet.numerals, band["from"], band["below"]
    if least is None:
        return "" if below is None else words.below.format(numerals.limit(below))
    if below is None:
        return words.least.format(numerals.limit(least))
    return words.between.format(numerals.limit(least), numerals.limit(below))


def moving_words(sheet: GridSheet, cell: GridCell) -> str:
    """Write the value that comes into a cell and that which leaves it."""
    return f"{sheet.numerals.change(cell.expected_value_in)} {sheet.numerals.change(-cell.expected_value_out)}"


def write_notes(sheet: GridSheet) -> Iterator[str]:
    """Write the lines below the picture: what its signs mean, and the largest flows."""
    words = sheet.words
    yield words.explain_expected(sheet.numerals, sheet.horizon_days)
    yield words.shade
    yield words.moves_meaning.format(sheet.within)
    yield words.value_meaning.format(sheet.within)
    yield from _largest_flows(sheet)


def _largest_flows(sheet: GridSheet) -> Iterator[str]:
    flows = sheet.grid.flows[:_SHOWN_FLOWS]
    if flows:
        yield f"{sheet.words.flows}{sheet.words.colon} {'; '.join(_flow_words(sheet, flow) for flow in flows)}"


def _flow_words(sheet: GridSheet, flow: CellFlow) -> str:
    groups, sizes = sheet.groups, sheet.words.sizes
    source, target = (
        f"{groups[group]}, {sizes[size].lower()}"
        for group, size in ((flow.from_group, flow.from_size), (flow.to_group, flow.to_size))
    )
    return f"{source} → {target} ({sheet.numerals.expected(flow.customers)})"


def describe_grid(sheet: GridSheet) -> str:
    """Say the whole picture in words and figures; cells where nobody stands or is expected are left out."""
    words, numerals = sheet.words, sheet.numerals
    customers = words.customers.format(numerals.count(sheet.grid.customers))
    rows = (_describe_cell(sheet, cell) for group in sheet.groups for cell in sheet.row(group) if _is_used(cell))
    return " ".join((f"{words.as_of.format(sheet.as_of)}; {customers}.", *rows))


def _is_used(cell: GridCell) -> bool:
    return cell.customers > 0 or cell.expected_customers >= 0.05


def _describe_cell(sheet: GridSheet, cell: GridCell) -> str:
    words, numerals = sheet.words, sheet.numerals
    parts = (
        f"{numerals.count(cell.customers)} → {numerals.expected(cell.expected_customers)} {sheet.within}",
        words.of_customers.format(numerals.share(cell.share)),
        f"{words.moves.lower()} {numerals.share(cell.p_leave)}",
        f"{words.value.lower()} {numerals.count(cell.historic_value)} ({moving_words(sheet, cell)})",
        f"{words.year_value.lower()} {numerals.count(cell.clv_12m)}",
    )
    name = f"{sheet.groups[cell.group]}, {words.sizes[cell.size].lower()}"
    return f"{name}{words.colon} {'; '.join(parts)}."
