"""Settings: defaults, then the file, then flags; anything unknown is refused by name."""

from pathlib import Path

import pytest

from features.errors import SettingsError
from features.settings import load_settings


def _write(folder: Path, text: str) -> Path:
    path = folder / "lifestage.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_layers(tmp_path: Path) -> None:
    """A flag wins over the file, the file over the defaults, and what neither names stays."""
    path = _write(tmp_path, "[training]\nhorizon_days = 60\nseed = 1\n")
    training = load_settings(path, overrides={"training": {"seed": 2, "test_cutoffs": None}}).training
    assert (training.horizon_days, training.seed, training.test_cutoffs) == (60, 2, 3)


def test_columns_are_merged(tmp_path: Path) -> None:
    """A flag that maps one column keeps the columns that the file maps."""
    path = _write(tmp_path, '[orders]\ncolumns = { amount = "Total" }\n')
    settings = load_settings(path, overrides={"orders": {"columns": {"customer_id": "Client"}}})
    assert settings.orders.columns == {"amount": "Total", "customer_id": "Client"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[training]\nhorizon = 30\n", "training.horizon"),
        ("[trainin]\nseed = 1\n", "trainin"),
        ("seed = 1\n", "seed"),
        ("orders = 3\n", "orders"),
        ('[training]\nhorizon_days = "ninety"\n', "training.horizon_days"),
        ("[training]\nhorizon_days = 90.5\n", "training.horizon_days"),
        ("[training]\nhorizon_days = true\n", "training.horizon_days"),
        ("[training]\nhorizon_days = 0\n", "training.horizon_days"),
        ("[training]\nprocess_weight = 1.5\n", "training.process_weight"),
        ("[stages]\nlost_to_at_risk_min_ratio = 1\n", "stages.lost_to_at_risk_min_ratio"),
        ("[stages]\nloyal_min_order_days = 1\n", "stages.loyal_min_order_days"),
        ("[stages]\nhysteresis_factor = 0.9\n", "stages.hysteresis_factor"),
        ("[stages]\nhysteresis_factor = 1.6\n", "stages"),
        ("[stages]\nrecommending_min_rating = inf\n", "stages.recommending_min_rating"),
        ("[stages]\nhot_within_days = 0\n", "stages.hot_within_days"),
        ("[stages]\nhot_min_visit_days = 0\n", "stages.hot_min_visit_days"),
        ('[lifecycle]\nvocabulary = ""\n', "lifecycle.vocabulary"),
        ('[lifecycle]\nlanguage = "e"\n', "lifecycle.language"),
        ("[lifecycle]\nmetrics_period_days = 0\n", "lifecycle.metrics_period_days"),
        ("[lifecycle]\nsimple_clv_years = 0.0\n", "lifecycle.simple_clv_years"),
        ("[lifecycle]\nfollowers = { gram = 0 }\n", "lifecycle.followers.gram"),
        ("[value]\nannual_discount_rate = -0.1\n", "value.annual_discount_rate"),
        ("[value]\nmargin = nan\n", "value.margin"),
        ("[gate]\nchurn_auc_margin = nan\n", "gate.churn_auc_margin"),
        ("[serving]\nport = 70000\n", "serving.port"),
        ("[orders]\ncolumns = { amount = 3 }\n", "orders.columns.amount"),
        ("[segments]\nlarge_value_share = 0.9\n", "segments"),
        ("[stages]\nfallback_at_risk_days = 200\n", "stages"),
    ],
)
def test_refused(tmp_path: Path, text: str, key: str) -> None:
    """An unknown key, a wrong type or a value out of range is refused by its name."""
    with pytest.raises(SettingsError, match=rf"Setting {key}\b"):
        load_settings(_write(tmp_path, text))


@pytest.mark.parametrize("zone", ["Europe/Pariss", "", "Europe", "../../etc/passwd", "/etc/localtime"])
def test_zone(zone: str) -> None:
    """A time zone that is none is refused, whatever a file system makes of its name."""
    with pytest.raises(SettingsError, match=r"Setting orders\.timezone"):
        load_settings(overrides={"orders": {"timezone": zone}})


def test_missing_file(tmp_path: Path) -> None:
    """A settings file that is not there is an error, not the defaults."""
    with pytest.raises(SettingsError, match="No settings file"):
        load_settings(tmp_path / "lifestage.toml")


@pytest.mark.parametrize("content", [b"[training\n", b"\xff\xfe"])
def test_not_toml(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is refused by its path."""
    path = tmp_path / "lifestage.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings(path)


def test_folder(tmp_path: Path) -> None:
    """A folder in place of the settings file is refused in our own words."""
    with pytest.raises(SettingsError, match=tmp_path.name):
        load_settings(tmp_path)


def test_defaults() -> None:
    """Without a file and flags, the defaults are complete."""
    settings = load_settings()
    assert settings.training.horizon_days == 90
    assert settings.orders.timezone == "UTC"
