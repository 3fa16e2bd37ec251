"""The metrics of the sheet: what people call each, its unit, what it divides by what, and what evidence it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "fr"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the sheet.

    Args:
        name: Value of the column `metric`.
        unit: `currency`, `share`, `percent`, `orders per customer`, `ratio` or `count`.
        numerator: What the numerator holds; a row may say it more closely.
        denominator: What the denominator holds; a row may say it more closely.
        titles: Language → what people call it.
    """

    name: str
    unit: str
    numerator: str
    denominator: str
    titles: Mapping[Language, str]

    def title(self, language: Language) -> str:
        """Return what people call the metric."""
        return self.titles[language]


def _metric(name: str, unit: str, numerator: str, denominator: str, *, en: str, fr: str) -> Metric:
    return Metric(name, unit, numerator, denominator, {"en": en, "fr": fr})


COST_PER_ACQUISITION = _metric(
    "cost_per_acquisition",
    "currency",
    "marketing costs",
    "customers acquired",
    en="Cost per acquisition",
    fr="Coût par acquisition",
)
COST_PER_IMPRESSION = _metric(
    "cost_per_impression",
    "currency",
    "marketing costs",
    "e-mails opened (sent − bounced − unopened)",
    en="Cost per impression (e-mails opened)",
    fr="Coût par impression (e-mails ouverts)",
)
CONVERSION_RATE = _metric(
    "conversion_rate",
    "share",
    "orders, not linked to single visits",
    "visits",
    en="Conversion rate (orders per visit)",
    fr="Taux de conversion (commandes par visite)",
)
SECOND_PURCHASE_RATE = _metric(
    "second_purchase_rate",
    "share",
    "customers with a second order day",
    "customers",
    en="Second-purchase rate",
    fr="Taux de deuxième achat",
)
AVERAGE_ORDER_VALUE = _metric(
    "average_order_value", "currency", "revenue before refunds", "orders", en="Average order value", fr="Panier moyen"
)
TRANSACTION_FREQUENCY = _metric(
    "transaction_frequency",
    "orders per customer",
    "orders",
    "customers who ordered",
    en="Transaction frequency",
    fr="Fréquence d’achat",
)
ENGAGEMENT_RATE = _metric(
    "engagement_rate", "percent", "engagements", "followers", en="Engagement rate", fr="Taux d’engagement"
)
SIMPLE_CLV = _metric(
    "simple_clv",
    "currency",
    "revenue before refunds, over the years at the pace of the period",
    "customers who ordered",
    en="Simple CLV",
    fr="CLV simple",
)
CLV_TO_CPA = _metric(
    "clv_12m_to_cpa",
    "ratio",
    "mean predicted 12-month CLV of customers acquired",
    "cost per acquisition",
    en="Predicted 12-month CLV to CPA",
    fr="CLV prédite à 12 mois sur CPA",
)
WORTH_TO_CPA = _metric(
    "value_and_clv_12m_to_cpa",
    "ratio",
    "mean value so far, less refunds, + predicted 12-month CLV of customers acquired",
    "cost per acquisition",
    en="Value so far + predicted 12-month CLV to CPA",
    fr="Valeur acquise + CLV prédite à 12 mois sur CPA",
)
VISITORS = _metric("visitors", "count", "visitors, added up day by day", "the period", en="Visitors", fr="Visiteurs")
VISITS = _metric("visits", "count", "visits", "the period", en="Visits", fr="Visites")

METRICS: tuple[Metric, ...] = (
    COST_PER_ACQUISITION,
    COST_PER_IMPRESSION,
    CONVERSION_RATE,
    SECOND_PURCHASE_RATE,
    AVERAGE_ORDER_VALUE,
    TRANSACTION_FREQUENCY,
    ENGAGEMENT_RATE,
    SIMPLE_CLV,
    CLV_TO_CPA,
    WORTH_TO_CPA,
    VISITORS,
    VISITS,
)

NEEDS_COSTS = "marketing_cost events in the period"
NEEDS_EMAILS = "email_sent and email_open events in the period"
NEEDS_VISITS = "visit events in the period"
NEEDS_ENGAGEMENTS = "engagement events in the period"
NEEDS_FOLLOWERS = "the number of followers of each channel"
