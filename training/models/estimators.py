"""Purchase models for a notebook: scikit-learn's conventions, and frames of pandas, Polars or PyArrow in and out.

Orders become a summary, one row per customer; estimators fit to the summary and answer with a frame in the library
that came in. Each reads its columns by name, and leaves all others alone.

Example:
    >>> import polars as pl
    >>> from features.intake.cdnow import load_cdnow_sample
    >>> orders = load_cdnow_sample().with_columns(amount=pl.col("amount_micros") / 1_000_000)
    >>> summary = summarise_orders(orders, cutoff="1997-10-01")
    >>> summary.select("customer_id", "frequency", "recency_days", "T_days", "monetary_value").row(0)
    ('0001', 2, 213, 273, 22.345)
    >>> shop = LifetimeValue(margin=0.3, horizon_days=180).fit(summary)
    >>> shop.predict(summary).select("p_no_order", "expected_orders", "clv_12m").head(1).to_numpy().round(2).tolist()
    [[0.52, 0.88, 11.22]]
"""

from training.models.lifetime_value import LifetimeValue, TotalValue
from training.models.order_frames import summarise_orders
from training.models.purchase_estimators import OrderValue, PurchaseTiming

__all__ = ["LifetimeValue", "OrderValue", "PurchaseTiming", "TotalValue", "summarise_orders"]
