"""The properties of the features, by the thousand: each is written where it belongs, and only named here."""

from tests.features.lifecycle.test_prospects import (
    test_day_by_day,
    test_everybody_once,
    test_linking,
    test_only_observable,
    test_ordering,
)
from tests.features.lifecycle.test_prospects import test_no_leakage as test_no_leakage_of_prospects
from tests.features.lifecycle.test_stages import (
    test_if_silent,
    test_one_stage,
    test_past_is_fixed,
    test_reached_where_possible,
    test_simulation,
    test_since,
)
from tests.features.test_catalogue import test_needs_nothing, test_nulls
from tests.features.test_grouping import test_order
from tests.features.test_groups import test_refunds_take_only
from tests.features.test_oracle import test_oracle
from tests.features.test_order_days import test_chunks as test_chunks_of_days
from tests.features.test_order_days import test_refunds_lower_values_alone
from tests.features.test_point_in_time import (
    test_files,
    test_no_leakage,
    test_no_leakage_in_database,
    test_nothing_learned_from_later,
    test_scattered,
)
from tests.features.test_reduce import test_grouping
from tests.features.test_sorted_days import test_whole_customers
from tests.features.test_table import (
    test_anywhere,
    test_anywhere_in_database,
    test_chunks,
    test_many_cutoffs,
    test_stage_tables,
)
from tests.features.test_windows import test_both_ways, test_longest
from tests.training.test_labels import test_horizon_ends_for_all, test_horizon_ends_for_prospects
from tests.training.test_labels import test_prospects_one_by_one as test_outcomes_one_by_one

__all__ = [
    "test_anywhere",
    "test_anywhere_in_database",
    "test_both_ways",
    "test_chunks",
    "test_chunks_of_days",
    "test_day_by_day",
    "test_everybody_once",
    "test_files",
    "test_grouping",
    "test_horizon_ends_for_all",
    "test_horizon_ends_for_prospects",
    "test_if_silent",
    "test_linking",
    "test_longest",
    "test_many_cutoffs",
    "test_needs_nothing",
    "test_no_leakage",
    "test_no_leakage_in_database",
    "test_no_leakage_of_prospects",
    "test_nothing_learned_from_later",
    "test_nulls",
    "test_one_stage",
    "test_only_observable",
    "test_oracle",
    "test_order",
    "test_ordering",
    "test_outcomes_one_by_one",
    "test_past_is_fixed",
    "test_reached_where_possible",
    "test_refunds_lower_values_alone",
    "test_refunds_take_only",
    "test_scattered",
    "test_simulation",
    "test_since",
    "test_stage_tables",
    "test_whole_customers",
]
