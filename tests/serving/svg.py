"""Pictures, read back."""

from xml.etree import ElementTree

_NAMESPACE = "{http://www.w3.org/2000/svg}"


def read_svg(svg: str) -> ElementTree.Element:
    """Parse a picture; it must be one."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # our own output, made in this process
    assert root.tag == f"{_NAMESPACE}svg"
    return root


def read_tags(svg: str) -> set[str]:
    """Return the names of its elements."""
    return {element.tag.removeprefix(_NAMESPACE) for element in read_svg(svg).iter()}


def read_description(svg: str) -> str:
    """Return what it says in words of itself."""
    return read_svg(svg).findtext(f"{_NAMESPACE}desc") or ""
