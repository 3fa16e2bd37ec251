"""How good predictions are: pure functions on arrays, one element per customer.

`y` is the outcome (1 where it happened), `p` its predicted probability. A metric that is undefined on the data
(AUC with one class, a bias relative to nothing) is NaN, and the caller says so.
"""

from training.metrics.arrays import (
    Array,
    FloatArray,
)
from training.metrics.calibration import (
    CALIBRATION_BINS,
    ReliabilityBins,
    bin_probabilities,
    brier_reliability,
    brier_resolution,
    brier_uncertainty,
    brier_within_bins,
    calibration_in_the_large,
    expected_calibration_error,
)
from training.metrics.intervals import (
    fractional_coverage,
    interval_coverage,
)
from training.metrics.probabilities import (
    PROBABILITY_FLOOR,
    brier,
    log_loss_binary,
    log_loss_multiclass,
    log_losses_binary,
    log_losses_multiclass,
)
from training.metrics.profit import (
    expected_maximum_profit,
)
from training.metrics.ranking import (
    TOP_SHARE,
    auc,
    base_rate,
    gain_curve,
    normalised_gini,
    pr_auc,
    precision_at,
    recall_at,
    top_decile_lift,
    top_decile_share,
)
from training.metrics.resampling import (
    Interval,
    percentile_interval,
)
from training.metrics.stages import (
    ranked_probability_score,
    ranked_probability_scores,
)
from training.metrics.values import (
    VALUE_BINS,
    ValueBins,
    bin_values,
    decile_mape,
    mae,
    r_squared,
    relative_bias,
    spearman,
    tweedie_deviance,
    tweedie_deviances,
)

__all__ = [
    "CALIBRATION_BINS",
    "PROBABILITY_FLOOR",
    "TOP_SHARE",
    "VALUE_BINS",
    "Array",
    "FloatArray",
    "Interval",
    "ReliabilityBins",
    "ValueBins",
    "auc",
    "base_rate",
    "bin_probabilities",
    "bin_values",
    "brier",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "brier_within_bins",
    "calibration_in_the_large",
    "decile_mape",
    "expected_calibration_error",
    "expected_maximum_profit",
    "fractional_coverage",
    "gain_curve",
    "interval_coverage",
    "log_loss_binary",
    "log_loss_multiclass",
    "log_losses_binary",
    "log_losses_multiclass",
    "mae",
    "normalised_gini",
    "percentile_interval",
    "pr_auc",
    "precision_at",
    "r_squared",
    "ranked_probability_score",
    "ranked_probability_scores",
    "recall_at",
    "relative_bias",
    "spearman",
    "top_decile_lift",
    "top_decile_share",
    "tweedie_deviance",
    "tweedie_deviances",
]
