"""Frames of pandas, Polars or PyArrow, read and answered through narwhals: orders in, customers in, columns out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Generic

import narwhals as nw
import numpy as np
import numpy.typing as npt
from narwhals.typing import IntoDataFrameT

from features.errors import CutoffError, EmptySourceError, InputError, MissingColumnError
from features.snapshot import to_date, to_day
from training.models.summary import BoolArray, FloatArray, IndexArray, PurchaseSummary

N_CUSTOMERS = "n_customers"

_DAY_MS = 86_400_000
_ROWS_NAMED = 5


def summarise_orders(
    orders: IntoDataFrameT,
    *,
    cutoff: date | str,
    customer_id: str = "customer_id",
    ordered_at: str = "ordered_at",
    amount: str = "amount",
) -> IntoDataFrameT:
    """Summarise orders into what purchase models know of a customer. One row per customer, sorted by customer.

    Orders of one day are one order, and orders at or after the cutoff change nothing. Every row counts as an order:
    leave refunds out, or net them off the order that they belong to.

    Args:
        orders: One row per order or order line, in an eager frame of pandas, Polars or PyArrow.
        cutoff: The day whose midnight ends history: a date, or text such as "2026-07-01".
        customer_id: Column of the customer.
        ordered_at: Column of dates or times. A time with a zone counts on its day in UTC, any other as it is given.
        amount: Column of the amounts, in one currency.

    Returns:
        The customer's column; `frequency`, order days − 1; `recency_days`, last − first order day; `T_days`, cutoff −
        first order day; `monetary_value`, mean value of the repeat order days, 0 without any.

    Raises:
        CutoffError: No order lies before the cutoff.
        EmptySourceError: There are no rows.
        InputError: A column holds nulls, no numbers, no times, or amounts that are not finite.
        MissingColumnError: A column is not there.
        TypeError: `orders` is not an eager frame.
        ValueError: `cutoff` is not a day.
    """
    cutoff_day, frame = _day_of_cutoff(cutoff), _read_frame(orders, (customer_id, ordered_at, amount))
    _refuse_rows(customer_id, _is_null(frame[customer_id]), "null")
    day, value = _days(frame[ordered_at]), _numbers(frame[amount])
    if day.min() >= cutoff_day:
        raise CutoffError(
            f"No order lies before the cutoff {to_date(cutoff_day)}; the first is of {to_date(int(day.min()))}.",
            remedy="Give a later cutoff.",
        )
    backend = frame.implementation
    lines = frame.select(
        nw.col(customer_id).alias("customer"),
        nw.new_series("day", day, nw.Int64, backend=backend),
        nw.new_series("value", value, nw.Float64, backend=backend),
    )
    customers = _count_and_span(lines.filter(nw.col("day") < cutoff_day))
    mean_value = nw.col("repeat_value") / nw.col("frequency")
    summary: IntoDataFrameT = customers.select(
        nw.col("customer").alias(customer_id),
        nw.col("frequency").cast(nw.Int64),
        recency_days=nw.col("last") - nw.col("first"),
        T_days=cutoff_day - nw.col("first"),
        monetary_value=nw.when(nw.col("frequency") > 0).then(mean_value).otherwise(0.0),
    ).to_native()
    return summary


def _count_and_span(lines: nw.DataFrame[Any]) -> nw.DataFrame[Any]:
    """Reduce `customer, day, value` to `customer, frequency, first, last, repeat_value`. One row per customer."""
    days = lines.group_by("customer", "day").agg(nw.col("value").sum()).sort("customer", "day")
    is_repeat = nw.col("day") > nw.col("day").min().over("customer")
    repeats = days.with_columns(repeat_value=nw.when(is_repeat).then(nw.col("value")).otherwise(0.0))
    customers = repeats.group_by("customer").agg(
        nw.col("day").count().alias("n_days"),
        nw.col("day").min().alias("first"),
        nw.col("day").max().alias("last"),
        nw.col("repeat_value").sum(),
    )
    return customers.with_columns(frequency=nw.col("n_days") - 1).sort("customer")


@dataclass(frozen=True, slots=True)
class Customers(Generic[IntoDataFrameT]):
    """What an estimator reads of a frame.

    Attributes:
        frame: As it came, for the library and the index of the answer.
        summary: One element per row.
        covariates: Name → (n,) words.
        n_customers: (n,) customers of each row, above 0; None where each row is one.
    """

    frame: nw.DataFrame[IntoDataFrameT]
    summary: PurchaseSummary
    covariates: Mapping[str, Any]
    n_customers: FloatArray | None

    @property
    def weights(self) -> FloatArray:
        """Customers of each row, (n,)."""
        return np.ones(len(self.summary)) if self.n_customers is None else self.n_customers

    def answer(
        self, names: Sequence[str], values: FloatArray, *, of_all: Mapping[str, bool] | None = None
    ) -> IntoDataFrameT:
        """Return values (n, k) as a frame of the library that came in, with the index that a pandas frame had.

        Args:
            names: Of the k columns.
            values: Their values.
            of_all: Further columns, each of what is true, or not, of every row.
        """
        columns: dict[str, Any] = {
            name: np.ascontiguousarray(column) for name, column in zip(names, values.T, strict=True)
        }
        columns |= {name: np.full(len(values), is_so) for name, is_so in (of_all or {}).items()}
        result: Any = nw.from_dict(columns, backend=self.frame.implementation).to_native()
        index = nw.maybe_get_index(self.frame)
        if index is not None:
            result.index = index
        answer: IntoDataFrameT = result
        return answer


def read_customers(
    native: IntoDataFrameT,
    statistics: Sequence[str],
    covariates: Sequence[str],
    sample_weight: npt.ArrayLike | None,
) -> Customers[IntoDataFrameT]:
    """Read the columns that an estimator asks for; see `Customers`.

    Raises:
        InputError: A column is missing, of the wrong kind or null, or there are no rows.
        ValueError: The figures are none that an order log can give.
    """
    frame = _read_frame(native, (*statistics, *covariates))
    summary = _summary_of({name: _numbers(frame[name]) for name in statistics})
    words = {name: _words(frame[name]) for name in covariates}
    return Customers(frame, summary, words, _counts(frame, sample_weight))


def _read_frame(native: IntoDataFrameT, names: Sequence[str]) -> nw.DataFrame[IntoDataFrameT]:
    """Return a frame that has these columns, and rows.

    Raises:
        EmptySourceError: It has no rows.
        MissingColumnError: A column is not there.
        TypeError: It is not an eager frame.
    """
    try:
        frame = nw.from_native(native, eager_only=True)
    except TypeError:
        kind = f"{type(native).__module__}.{type(native).__qualname__}"
        raise TypeError(f"Give a frame of pandas, Polars or PyArrow, not {kind}; collect a lazy one.") from None
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise MissingColumnError(
            f"Missing column: {', '.join(missing)}. The frame has: {', '.join(map(str, frame.columns)) or 'none'}.",
            remedy="Rename a column, or say which one is meant.",
        )
    if len(frame) == 0:
        raise EmptySourceError("The frame has no rows.", remedy="Give at least one.")
    return frame


def _is_null(column: nw.Series[Any]) -> BoolArray:
    return np.asarray(column.is_null().to_numpy(), dtype=np.bool_)


def _refuse_rows(name: str, is_refused: BoolArray, what: str) -> None:
    """Refuse a column some of whose rows are wrong.

    Raises:
        InputError: Any is; it tells how many, and the first of them.
    """
    (rows,) = np.nonzero(is_refused)
    if rows.size:
        named = ", ".join(map(str, rows[:_ROWS_NAMED])) + (" …" if rows.size > _ROWS_NAMED else "")
        raise InputError(
            f"{name} is {what} in {rows.size} of {is_refused.size} rows: {named} (the first row is 0).",
            remedy="Drop or fill them first.",
        )


def _numbers(column: nw.Series[Any]) -> FloatArray:
    """Return a column of finite numbers, (n,).

    Raises:
        InputError: It is not one.
    """
    if not (column.dtype.is_numeric() or isinstance(column.dtype, nw.Object)):
        raise _wrong_kind(column, "numbers")
    _refuse_rows(column.name, _is_null(column), "null")
    try:
        result = np.asarray(column.to_numpy(), dtype=np.float64)
    except (TypeError, ValueError):
        raise _wrong_kind(column, "numbers") from None
    _refuse_rows(column.name, ~np.isfinite(result), "not finite")
    return result


def _days(column: nw.Series[Any]) -> IndexArray:
    """Return the day numbers of a column of dates or times, (n,): of times with a zone, the day in UTC.

    Raises:
        InputError: It is not one.
    """
    _refuse_rows(column.name, _is_null(column), "null")
    try:
        # Dates as Python objects, and zones whose names narwhals does not read.
        times = column.cast(nw.Datetime("us", "UTC")) if isinstance(column.dtype, nw.Object | nw.Unknown) else column
    except (TypeError, ValueError, NotImplementedError):
        raise _wrong_kind(column, "dates or times") from None
    if not isinstance(times.dtype, nw.Date | nw.Datetime):
        raise _wrong_kind(column, "dates or times")
    return np.asarray(times.dt.timestamp("ms").to_numpy(), dtype=np.intp) // _DAY_MS


def _words(column: nw.Series[Any]) -> npt.NDArray[np.str_]:
    _refuse_rows(column.name, _is_null(column), "null")
    return np.array(column.to_list(), dtype=np.str_)


def _wrong_kind(column: nw.Series[Any], wanted: str) -> InputError:
    return InputError(f"{column.name} must hold {wanted}, got {column.dtype}.", remedy="Convert the column first.")


def _day_of_cutoff(cutoff: date | str) -> int:
    try:
        given = datetime.fromisoformat(cutoff) if isinstance(cutoff, str) else cutoff
    except ValueError:
        given = None
    when = given.astimezone(UTC) if isinstance(given, datetime) and given.tzinfo else given
    if isinstance(when, datetime) and when.time() == time():
        return to_day(when.date())
    if isinstance(when, date) and not isinstance(when, datetime):
        return to_day(when)
    raise ValueError(f'cutoff must be a day, such as "2026-07-01" or a date, got {cutoff!r}.')


def _summary_of(statistics: Mapping[str, FloatArray]) -> PurchaseSummary:
    """Summarise from the statistics that a model reads; those it does not read are the plainest that can be."""
    frequency = statistics["frequency"]
    recency = statistics.get("recency_days", np.sign(frequency))
    age, value = statistics.get("T_days", recency), statistics.get("monetary_value", np.zeros_like(frequency))
    return PurchaseSummary(frequency, recency, age, value)


def _counts(frame: nw.DataFrame[Any], sample_weight: npt.ArrayLike | None) -> FloatArray | None:
    """Return the customers of each row, (n,), or None where each is one.

    Raises:
        ValueError: They are given twice, or are no counts.
    """
    name = N_CUSTOMERS if sample_weight is None else "sample_weight"
    if N_CUSTOMERS not in frame.columns and sample_weight is None:
        return None
    if N_CUSTOMERS in frame.columns and sample_weight is not None:
        raise ValueError(f"Customers are counted twice: give {name} or a column {N_CUSTOMERS}, not both.")
    counts = _numbers(frame[N_CUSTOMERS]) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if counts.shape != (len(frame),) or not bool((np.isfinite(counts) & (counts > 0)).all()):
        raise ValueError(f"{name} must be one number above 0 for each of the {len(frame)} rows; drop those without.")
    return counts
