"""The first tables: runs, their rows and reports, and who is not to be scored.

The columns are written out: what they were then does not change when the list of columns does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Integer(), primary_key=True),
        sa.Column("as_of", sa.Text(), nullable=False),
        sa.Column("horizon_days", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("catalogue_hash", sa.Text(), nullable=False),
        sa.Column("n_customers", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )


def _make_scores() -> None:
    op.create_table(
        "scores",
        sa.Column("run_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("customer_id", _ID, primary_key=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("stage_since", sa.Text(), nullable=False),
        sa.Column("p_churn", sa.Double(), nullable=False),
        sa.Column("p_churn_30d", sa.Double(), nullable=False),
        sa.Column("p_churn_90d", sa.Double(), nullable=False),
        sa.Column("p_churn_180d", sa.Double(), nullable=False),
        sa.Column("p_alive", sa.Double(), nullable=False),
        sa.Column("p_next_first_time_buyer", sa.Double(), nullable=False),
        sa.Column("p_next_repeat", sa.Double(), nullable=False),
        sa.Column("p_next_loyal", sa.Double(), nullable=False),
        sa.Column("p_next_at_risk", sa.Double(), nullable=False),
        sa.Column("p_next_lost", sa.Double(), nullable=False),
        sa.Column("p_next_won_back", sa.Double(), nullable=False),
        sa.Column("p_next_ambassador", sa.Double()),
        sa.Column("p_second_purchase", sa.Double()),
        sa.Column("p_reactivation", sa.Double()),
        sa.Column("expected_orders", sa.Double(), nullable=False),
        sa.Column("expected_order_value", sa.Double(), nullable=False),
        sa.Column("next_order_on", sa.Text()),
        sa.Column("next_order_on_low", sa.Text()),
        sa.Column("next_order_on_high", sa.Text()),
        sa.Column("historic_value", sa.Double(), nullable=False),
        sa.Column("clv_12m", sa.Double(), nullable=False),
        sa.Column("clv_12m_low", sa.Double(), nullable=False),
        sa.Column("clv_12m_high", sa.Double(), nullable=False),
        sa.Column("clv_12m_sd", sa.Double(), nullable=False),
        sa.Column("clv_by_month", sa.LargeBinary(), nullable=False),
        sa.Column("total_value", sa.Double(), nullable=False),
        sa.Column("residual_value", sa.Double()),
        sa.Column("rfm", sa.Text(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("rfm_group", sa.Text(), nullable=False),
        sa.Column("p_leave_cell", sa.Double(), nullable=False),
        sa.Column("value_at_risk", sa.Double(), nullable=False),
        sa.Column("reasons", sa.Text()),
        sa.Column("flags", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "scores_ranked", "scores", ["run_id", sa.text("value_at_risk DESC"), "customer_id", "stage", "size", "p_churn"]
    )


def _make_prospects() -> None:
    op.create_table(
        "prospects",
        sa.Column("run_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("person_id", _ID, primary_key=True),
        sa.Column("is_visitor", sa.Integer(), primary_key=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("stage_since", sa.Text(), nullable=False),
        sa.Column("p_first_purchase", sa.Double(), nullable=False),
        sa.Column("p_registration", sa.Double()),
        sa.Column("expected_value", sa.Double(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "prospects_ranked", "prospects", ["run_id", sa.text("p_first_purchase DESC"), "person_id", "is_visitor"]
    )


def _make_reports() -> None:
    op.create_table(
        "reports",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("body", sa.Text(), nullable=False),
    )


def _make_published() -> None:
    op.create_table(
        "published",
        sa.Column("slot", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("runs.run_id"), nullable=False),
    )


def _make_objections() -> None:
    op.create_table(
        "objections",
        sa.Column("customer_id", _ID, primary_key=True),
        sa.Column("objected_at", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )


def _make_tombstones() -> None:
    op.create_table(
        "tombstones",
        sa.Column("id_hash", sa.Text(), primary_key=True),
        sa.Column("erased_at", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )


def _make_writes() -> None:
    op.create_table(
        "writes",
        sa.Column("caller", sa.Text(), primary_key=True),
        sa.Column("key_hash", sa.Text(), primary_key=True),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("answer", sa.Text()),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    """Make all tables."""
    _make_runs()
    _make_scores()
    _make_prospects()
    _make_reports()
    _make_published()
    _make_objections()
    _make_tombstones()
    _make_writes()
