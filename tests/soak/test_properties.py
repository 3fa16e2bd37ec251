"""The properties of the features, by the thousand: each is written where it belongs, and only named here."""

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
from tests.features.test_windows import test_both_ways

__all__ = [
    "test_anywhere",
    "test_anywhere_in_database",
    "test_both_ways",
    "test_chunks",
    "test_chunks_of_days",
    "test_files",
    "test_grouping",
    "test_if_silent",
    "test_many_cutoffs",
    "test_needs_nothing",
    "test_no_leakage",
    "test_no_leakage_in_database",
    "test_nothing_learned_from_later",
    "test_nulls",
    "test_one_stage",
    "test_oracle",
    "test_order",
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
