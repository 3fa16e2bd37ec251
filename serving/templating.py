"""How templates are rendered: escaped, and strict about what is missing."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def build_environment() -> Environment:
    """Build the environment of the templates beside this module; whoever renders adds words of their own."""
    return Environment(
        loader=PackageLoader("serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
