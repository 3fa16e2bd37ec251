"""Traces by OpenTelemetry, as BentoML gives them, set up by OpenTelemetry's own environment variables."""

from collections.abc import Mapping
from typing import Any

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
RATE_VARIABLE = "OTEL_TRACES_SAMPLER_ARG"


def is_traced(environment: Mapping[str, str]) -> bool:
    """Tell whether a collector is named."""
    return bool(environment.get(ENDPOINT_VARIABLE))


def choose_tracing(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return BentoML's tracing options: spans go to a collector by OTLP over HTTP where one is named, else nowhere.

    A request that belongs to a trace is sampled as its caller decided, others at the rate of the environment.
    """
    if not is_traced(environment):
        return {"sample_rate": 0.0}
    endpoint = environment[ENDPOINT_VARIABLE]
    return {
        "exporter_type": "otlp",
        "sample_rate": float(environment.get(RATE_VARIABLE, "1.0")),
        "otlp": {"protocol": "http", "endpoint": f"{endpoint.rstrip('/')}/v1/traces"},
    }
