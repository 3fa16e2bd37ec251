"""Settings: documented defaults, overridden by `lifestage.toml`, overridden by flags.

All choices that the sources leave open stand in `defaults.toml`, so that one file answers
"which number is it, and why?". Each room receives only its own section.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from features.errors import SettingsError

_WORD_FILES = ("vocabulary", "plays", "rfm_groups")

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Paris") from error
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]


class Reading(_Section):
    """How the values of one source are written. Empty texts mean: find out from the source."""

    columns: dict[str, str]
    timezone: Zone
    date_format: str
    number_format: str
    encoding: str
    delimiter: str


class SourceSettings(_Section):
    """One source named in `lifestage.toml`: a path, or a database's URL and query. None inherits from its section."""

    path: str = ""
    url: str = ""
    query: str = ""
    columns: dict[str, str] | None = None
    timezone: Zone | None = None
    date_format: str | None = None
    number_format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "SourceSettings":
        if bool(self.path) == bool(self.url) or bool(self.url) != bool(self.query):
            raise ValueError("a source has either a path, or a url and a query")
        return self

    def reading(self, inherited: Reading) -> Reading:
        """Return how to read this source: its own keys, else those of its section."""
        own = self.model_dump(exclude={"path", "url", "query"}, exclude_none=True)
        return Reading(**{**inherited.model_dump(include=set(Reading.model_fields)), **own})


class OrdersSettings(Reading):
    """How to read orders."""

    rows: Literal["auto", "lines", "orders"]
    lines_min_repeat_share: Share
    currency: str
    rates: str
    tolerated_quarantine_share: Share
    sources: list[SourceSettings]

    @model_validator(mode="after")
    def _rates_have_a_currency(self) -> "OrdersSettings":
        if self.rates and not self.currency:
            raise ValueError("rates need orders.currency, the currency they convert to")
        return self


class EventsSettings(_Section):
    """How to read events. One that has no key of its own is read in the shop's time zone."""

    columns: dict[str, str]
    types: dict[str, str]
    date_format: str
    number_format: str
    encoding: str
    delimiter: str
    sources: list[SourceSettings]

    def reading(self, *, timezone: str) -> Reading:
        """Return how to read event sources, in the shop's time zone."""
        return Reading(timezone=timezone, **self.model_dump(exclude={"types", "sources"}))


class EngineSettings(_Section):
    """What the embedded database may use."""

    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")]
    threads: Annotated[int, Field(ge=0)]


class TrainingSettings(_Section):
    """Which cutoffs to learn from and to test on."""

    horizon_days: Positive
    test_cutoffs: Positive
    train_step_days: Positive
    max_train_cutoffs: Positive
    min_history_days: Positive
    min_customers: Positive
    trusted_customers: Positive
    min_class_customers: Positive
    process_weight: Share
    process_inputs: bool
    search_trials: Annotated[int, Field(ge=0, le=500)]
    prior_customers: Annotated[int, Field(ge=0)]
    bootstrap_samples: Positive
    max_fit_customers: Positive
    seeds: Positive
    seed: int


class RetentionSettings(_Section):
    """What a retention campaign costs and may bring."""

    contact_share: Annotated[float, Field(gt=0.0, le=1.0)]
    contact_cost: Annotated[float, Field(ge=0.0, lt=1e9)]
    offer_cost: Annotated[float, Field(ge=0.0, lt=1e9)]
    response_alpha: Annotated[float, Field(gt=0.0, lt=1e9)]
    response_beta: Annotated[float, Field(gt=0.0, lt=1e9)]
    customer_value: Annotated[float, Field(ge=0.0, lt=1e9)]


class StageSettings(_Section):
    """How stage thresholds are learned."""

    min_gaps: Positive
    at_risk_quantile: Share
    lost_quantile: Share
    min_at_risk_days: Positive
    lost_to_at_risk_min_ratio: Annotated[float, Field(gt=1.0)]
    fallback_at_risk_days: Positive
    fallback_lost_days: Positive
    own_rhythm_min_gaps: Positive
    own_rhythm_min_factor: Annotated[float, Field(gt=0.0, le=1.0)]
    own_rhythm_max_factor: Annotated[float, Field(ge=1.0)]
    hysteresis_factor: Annotated[float, Field(ge=1.0)]
    recommending_min_rating: float
    hot_within_days: Positive
    hot_min_visit_days: Positive
    loyal_quantile: Share
    loyal_min_order_days: Annotated[int, Field(ge=2)]
    loyal_min_tenure_days: Positive

    @model_validator(mode="after")
    def _bands_part(self) -> "StageSettings":
        if self.hysteresis_factor > self.lost_to_at_risk_min_ratio:
            raise ValueError("it must not exceed lost_to_at_risk_min_ratio, or at_risk would end in lost at once")
        return self

    @model_validator(mode="after")
    def _bands_ascend(self) -> "StageSettings":
        if self.fallback_at_risk_days >= self.fallback_lost_days or self.at_risk_quantile >= self.lost_quantile:
            raise ValueError("at_risk must come before lost, in the fallback days and in the quantiles")
        return self


class SegmentSettings(_Section):
    """How customers are binned by recency, frequency, value and size."""

    rfm_bins: Annotated[int, Field(ge=2, le=9)]
    large_value_share: Share
    medium_value_share: Share

    @model_validator(mode="after")
    def _shares_fit(self) -> "SegmentSettings":
        if self.large_value_share + self.medium_value_share > 1.0:
            raise ValueError("large_value_share + medium_value_share exceed 1")
        return self


class LifecycleSettings(_Section):
    """In whose words stages are told, what is recommended, and which figures stand on the metric sheet."""

    vocabulary: Annotated[str, Field(min_length=1)]
    language: Annotated[str, Field(min_length=2)]
    plays: str
    rfm_groups: Annotated[str, Field(min_length=1)]
    metrics_period_days: Positive
    simple_clv_years: Annotated[float, Field(gt=0.0, le=100.0)]
    followers: dict[str, Positive]


class ValueSettings(_Section):
    """How orders become money."""

    margin: Share
    annual_service_cost: Annotated[float, Field(ge=0.0, lt=1e9)]
    annual_discount_rate: Annotated[float, Field(ge=0.0, lt=10.0)]
    interval_coverage: Annotated[float, Field(gt=0.0, lt=1.0)]
    next_order_max_days: Positive
    timing_model: Literal["mbg_nbd", "bg_nbd", "pareto_nbd"]
    fitter: Literal["lifestage", "lifetimes"]


class GateSettings(_Section):
    """What a challenger must achieve."""

    churn_log_loss_margin: float
    churn_auc_margin: float
    churn_max_ece: Share
    churn_ece_margin: Share
    churn_max_in_the_large: Share
    next_stage_log_loss_margin: float
    prospect_log_loss_relative_margin: float
    value_deviance_relative_margin: float
    value_max_relative_bias: float
    min_judged_customers: Positive
    max_stale_days: Positive
    max_age_days: Annotated[int, Field(ge=0)]


class ServingSettings(_Section):
    """Where the service listens and what it accepts."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    keep_runs: Positive
    max_customers_per_request: Positive
    max_orders_per_customer: Positive
    max_body_bytes: Positive
    max_list_rows: Positive
    max_reason_customers: Annotated[int, Field(ge=0)]
    max_scores_per_request: Positive
    max_as_of_dates: Positive
    max_horizons: Positive
    max_horizon_days: Positive
    workers: Positive
    store_url: str
    max_concurrent_requests: Positive
    requests_per_second: Annotated[float, Field(gt=0)]
    burst_requests: Positive
    reload_check_seconds: Annotated[float, Field(gt=0)]
    idempotency_hours: Positive


class Settings(_Section):
    """All settings of one run."""

    orders: OrdersSettings
    events: EventsSettings
    engine: EngineSettings
    training: TrainingSettings
    retention: RetentionSettings
    stages: StageSettings
    segments: SegmentSettings
    lifecycle: LifecycleSettings
    value: ValueSettings
    gate: GateSettings
    serving: ServingSettings


def load_settings(path: Path | None = None, *, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Load the defaults, then a `lifestage.toml`, then overrides such as flags.

    Args:
        path: A TOML file, or None for the defaults alone.
        overrides: Section name → key → value; None values are skipped.

    Raises:
        SettingsError: If the file is missing or not TOML, a key is unknown, or a value is out of range.
    """
    own = _beside(_load_toml(path), path.parent) if path else {}
    layers = [_load_defaults(), own, _given(overrides or {})]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"Setting {key}: {_in_words(first)}.",
            remedy="Correct it in lifestage.toml or in the flag; features/defaults.toml explains every key.",
        ) from None


def _in_words(fault: ErrorDetails) -> str:
    """Return pydantic's words, where they speak of fields and inputs, in ours."""
    if fault["type"] == "extra_forbidden":
        return "there is no such key"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    return fault["msg"][:1].lower() + fault["msg"][1:]


def _load_defaults() -> dict[str, Any]:
    return tomllib.loads(resources.files("features").joinpath("defaults.toml").read_text(encoding="utf-8"))


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"No settings file at {path}.", remedy="Give an existing file to --config, or leave it out."
        ) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", remedy="Give a readable file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.", remedy="Correct the line that it names.") from None


def _beside(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Read paths of words and plays from where the settings file lies, whoever reads it from wherever."""
    section = given.get("lifecycle")
    if not isinstance(section, dict):
        return given
    paths = {
        k: v for k, v in section.items() if k in _WORD_FILES and isinstance(v, str) and v.lower().endswith(".toml")
    }
    return {**given, "lifecycle": {**section, **{key: str((folder / value).resolve()) for key, value in paths.items()}}}


def _given(overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {section: {k: v for k, v in values.items() if v is not None} for section, values in overrides.items()}


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        if isinstance(merged.get(key), Mapping) and not both_tables:
            raise SettingsError(f"Setting {key} must be a table.", remedy=f"Write its keys under [{key}].")
        merged[key] = _merge(merged[key], value) if both_tables else value
    return merged
