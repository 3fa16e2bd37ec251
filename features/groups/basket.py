"""Basket and category breadth: how much in a basket, and how many of the shop's categories."""

from features.catalogue import Count, Feature, Log, exact, known_if, only_if, ratio, within
from features.expressions import Expr, col
from features.groups.rfm import N_ORDER_DAYS

_GROUP = "basket and category"
_LOG: Log = "items"
_CATEGORIES = ("category",)
_QUANTITIES = ("quantity",)
_AGE, _CATEGORY, _QUANTITY = col("age_days"), col("category"), col("quantity_micros")

COUNTS = (
    Count("n_categories", _CATEGORY, "n_unique", log=_LOG, needs=_CATEGORIES),
    Count("n_categories_90", only_if(within(90), _CATEGORY), "n_unique", log=_LOG, needs=_CATEGORIES),
    Count("n_categories_365", only_if(within(365), _CATEGORY), "n_unique", log=_LOG, needs=_CATEGORIES),
    Count("n_categories_older", only_if(_AGE > 90, _CATEGORY), "n_unique", log=_LOG, needs=_CATEGORIES),
    Count("n_category_days", only_if(~_CATEGORY.is_null(), 1), log=_LOG, needs=_CATEGORIES),
    Count("quantity", _QUANTITY, log=_LOG, needs=_QUANTITIES),
    Count("quantity_90", only_if(within(90), _QUANTITY), log=_LOG, needs=_QUANTITIES),
    Count("quantity_lines", col("n_lines"), log=_LOG, needs=_QUANTITIES),
)

_NO_CATEGORY, _NO_QUANTITY = "no category known", "no quantity known"


def _of_categories(name: str, meaning: str, value: Expr, *, unit: str = "categories") -> Feature:
    return Feature(name, _GROUP, unit, meaning, known_if("n_category_days", value), _NO_CATEGORY, _CATEGORIES)


def _of_quantities(name: str, meaning: str, value: Expr) -> Feature:
    return Feature(name, _GROUP, "items", meaning, known_if("quantity_lines", value), _NO_QUANTITY, _QUANTITIES)


FEATURES = (
    _of_categories("categories_so_far", "different categories bought so far", exact("n_categories")),
    _of_categories("categories_within_90", "different categories in the last 90 days", exact("n_categories_90")),
    _of_categories("categories_within_365", "different categories in the last 365 days", exact("n_categories_365")),
    _of_categories("new_categories_90", "categories bought in the last 90 days and never before",
                   exact("n_categories") - exact("n_categories_older")),
    _of_categories("categories_per_order_day", "categories in a basket, on average",
                   exact("n_category_days") / N_ORDER_DAYS, unit="ratio"),
    _of_categories("category_loyalty", "baskets in which a category returns, on average",
                   ratio(exact("n_category_days"), exact("n_categories")), unit="ratio"),
    _of_quantities("items_so_far", "quantity bought so far", exact("quantity")),
    _of_quantities("items_within_90", "quantity bought in the last 90 days", exact("quantity_90")),
    _of_quantities("items_per_order_day", "quantity in a basket, on average", exact("quantity") / N_ORDER_DAYS),
    _of_quantities("items_per_line", "quantity on an order line, on average",
                   ratio(exact("quantity"), exact("quantity_lines"))),
)  # fmt: skip
