"""Errors that nobody foresaw: told by their type and place, as their message may quote customer data."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from features.errors import StoreError
from serving.telemetry.logs import place_of
from serving.telemetry.metrics import process_metrics

_logger = logging.getLogger("bentoml.lifestage")


def count_store_error(error: Exception) -> None:
    """Count an error if it is one of the store."""
    if isinstance(error, (SQLAlchemyError, StoreError)):
        process_metrics().count_store_error()


def log_unexpected(error: Exception) -> None:
    """Log where an unexpected error arose; not its message."""
    count_store_error(error)
    _logger.error("Unexpected %s at %s", type(error).__name__, place_of(error.__traceback__))
