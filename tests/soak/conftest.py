"""The profile of the soak: the same properties, on a thousand examples each."""

from hypothesis import HealthCheck, settings

from tests.serving.conftest import champion_home  # noqa: F401  # a fixture

settings.register_profile("soak", max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soak")  # before the properties are imported: they take the number of examples from the profile
