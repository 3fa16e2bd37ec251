"""How arrows run between boxes in two rows, so that none crosses a text.

Between neighbours of a row an arrow goes straight; past a neighbour it takes a lane above the upper or below the lower
row; between the rows it crosses a channel. Numbers stand where no other arrow comes: over the straight ones, in the
gaps beside a lane's start, and right below the upper row, where the arrows of the channel still run straight down.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from serving.lifecycle_map import Flow
from serving.pictures.layout import Group, Path, Rect, Text, measure, number
from serving.pictures.words import Numerals

GAP = 84.0  # least distance between neighbours: room for a number
MOST_PORTS = 4  # more numbers would not fit side by side under a box

_LEAST_WIDTH, _MOST_WIDTH = 1.5, 11.0
_LEAVING = ("at_risk", "lost")
_COMING_BACK = (*_LEAVING, "won_back")
_LABEL_SIZE = 14.0
_PILL = 20.0
_APART = 30.0  # of the two directions between neighbours, from the middle of the row
_FIRST_LANE, _LANE = 36.0, 30.0
_BEND = 12.0
_BAND, _CROSSING, _TAIL = 74.0, 116.0, 30.0
CHANNEL = _BAND + _CROSSING + _TAIL


@dataclass(frozen=True, slots=True)
class Node:
    """A box that arrows join; the one of those who had not ordered stands at place −1 of both rows."""

    stage: str | None
    place: int
    x: float
    y: float
    width: float
    height: float
    is_upper: bool

    @property
    def centre(self) -> float:
        """The middle of its width."""
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.width


@dataclass(frozen=True, slots=True)
class Link:
    """A flow between two boxes that stand in the picture."""

    flow: Flow
    source: Node
    target: Node

    @property
    def in_channel(self) -> bool:
        """Whether it joins the two rows."""
        return self.source.is_upper != self.target.is_upper

    @property
    def in_lane(self) -> bool:
        """Whether it passes another box of its row."""
        return not self.in_channel and abs(self.source.place - self.target.place) > 1

    @property
    def upper(self) -> Node:
        """The box of the upper row, where it joins the rows."""
        return self.source if self.source.is_upper else self.target

    @property
    def is_rightward(self) -> bool:
        """Whether it ends to the right of where it starts."""
        return self.target.centre > self.source.centre


Ports = Mapping[tuple[Link, Node], float]
Levels = Mapping[Link, int]


def choose_links(links: Iterable[Link], *, most: int, sure: int, least_share: float) -> tuple[Link, ...]:
    """Choose the links with most customers, as many as can be told apart; and of each box the largest one at least.

    Args:
        links: All of them.
        most: How many at most.
        sure: How many are chosen however small they are.
        least_share: Of all the customers who moved; among the rest, what is smaller is left out.
    """
    most_first = sorted(links, key=lambda link: -link.flow.customers)
    least = least_share * sum(link.flow.customers for link in most_first)
    chosen: list[Link] = []
    for link in most_first:
        is_large = len(chosen) < sure or (len(chosen) < most and link.flow.customers >= least)
        if is_large and _has_room(link, chosen):
            chosen.append(link)
    for link in most_first:
        joined = {node.stage for other in chosen for node in (other.source, other.target)}
        if not {link.source.stage, link.target.stage} <= joined and _has_room(link, chosen):
            chosen.append(link)
    return tuple(chosen)


def lay_lanes(links: Iterable[Link], *, is_upper: bool) -> Levels:
    """Give each link that passes a box a level, short ones next to the row, so that no two lie on each other."""
    levels: dict[Link, int] = {}
    passing = [link for link in links if link.in_lane and link.source.is_upper == is_upper]
    for link in sorted(passing, key=lambda link: abs(link.source.place - link.target.place)):
        taken = {level for other, level in levels.items() if _overlap(link, other)}
        levels[link] = next(level for level in range(len(passing)) if level not in taken)
    return levels


def lanes_height(levels: Levels) -> float:
    """Return the room that lanes take beside their row."""
    return _FIRST_LANE + _LANE * max(levels.values()) + _PILL if levels else 0.0


def draw_links(links: Sequence[Link], numerals: Numerals) -> tuple[Group, ...]:
    """Draw arrows and their numbers: wide arrows first, numbers above all arrows."""
    ports = {**_channel_ports(links), **_lane_ports(links)}
    levels = {**lay_lanes(links, is_upper=True), **lay_lanes(links, is_upper=False)}
    peak = max((link.flow.customers for link in links), default=1.0)
    labels = {link: numerals.short(link.flow.customers) for link in links}
    steps = _label_steps(links, ports, labels)
    arrows: list[Group] = []
    numbers: list[Group] = []
    for link in sorted(links, key=lambda link: -link.flow.customers):
        width = arrow_width(link.flow.customers, peak)
        if link.in_channel:
            arrows.append(_channel_arrow(link, ports, width))
            numbers.append(_pill(labels[link], ports[link, link.upper], _below(link.upper) + 32.0 + 25.0 * steps[link]))
        elif link.in_lane:
            arrows.append(_lane_arrow(link, ports, levels[link], width))
            numbers.append(_pill(labels[link], _gap_beside(link), _lane_y(link.source, levels[link])))
        else:
            y = _straight_y(link, links)
            arrows.append(_straight_arrow(link, y, width))
            x = (min(link.source.right, link.target.right) + max(link.source.x, link.target.x)) / 2
            label = Text(x, y - max(width / 2, 6.0) - 7.0, labels[link], _LABEL_SIZE, anchor="middle")
            numbers.append(Group(texts=(label,)))
    return (*arrows, *numbers)


def arrow_width(customers: float, peak: float) -> float:
    """Return the width of an arrow, a straight line in its customers."""
    return _LEAST_WIDTH + (_MOST_WIDTH - _LEAST_WIDTH) * customers / peak


def tone_of(flow: Flow) -> str:
    """Return whether customers go onward, are leaving, or are returning."""
    if flow.to_stage in _LEAVING:
        return "leaving"
    return "returning" if flow.from_stage in _COMING_BACK else "onward"


def draw_arrow(d: str, tip: tuple[float, float], towards: tuple[int, int], width: float, tone: str) -> Group:
    """Draw an arrow on a casing that parts it from what it crosses.

    Args:
        d: Path to the base of the head.
        tip: Where it points.
        towards: Direction of the head: one of its parts is 0, the other 1 or −1.
        width: Of the stroke.
        tone: Of the stroke and the head.
    """
    (x, y), (dx, dy), half, long = tip, towards, width / 2 + 4.5, head_length(width)
    corners = ((x, y), (x - dx * long - dy * half, y - dy * long + dx * half))
    other = (x - dx * long + dy * half, y - dy * long - dx * half)
    head = " L".join(f"{number(a)} {number(b)}" for a, b in (*corners, other))
    return Group(paths=(Path(d, "casing", width + 3.0), Path(d, tone, width), Path(f"M{head}Z", f"head-{tone}")))


def head_length(width: float) -> float:
    """Return the length of an arrow's head."""
    return 9.0 + 0.45 * width


def _has_room(link: Link, chosen: Iterable[Link]) -> bool:
    beside = sum(other.in_channel and other.upper == link.upper for other in chosen)
    return not link.in_channel or beside < MOST_PORTS


def _channel_ports(links: Iterable[Link]) -> dict[tuple[Link, Node], float]:
    ports: dict[tuple[Link, Node], float] = {}
    crossing = [link for link in links if link.in_channel]
    for node in dict.fromkeys(node for link in crossing for node in (link.source, link.target)):
        here = [link for link in crossing if node in {link.source, link.target}]
        here.sort(key=lambda link: (_other(link, node).centre, not link.source.is_upper))
        ports.update(_spread(here, node))
    return ports


def _lane_ports(links: Iterable[Link]) -> dict[tuple[Link, Node], float]:
    ports: dict[tuple[Link, Node], float] = {}
    passing = [link for link in links if link.in_lane]
    for node in dict.fromkeys(node for link in passing for node in (link.source, link.target)):
        here = [link for link in passing if node in {link.source, link.target}]
        # Leftward from the nearest to the farthest, then rightward from the farthest: lanes then nest.
        here.sort(key=lambda link: (_other(link, node).place > node.place, -_other(link, node).place))
        ports.update(_spread(here, node))
    return ports


def _spread(links: Sequence[Link], node: Node) -> Iterator[tuple[tuple[Link, Node], float]]:
    for i, link in enumerate(links):
        yield (link, node), node.x + node.width * (i + 0.5) / len(links)


def _other(link: Link, node: Node) -> Node:
    return link.target if link.source == node else link.source


def _label_steps(links: Iterable[Link], ports: Ports, labels: Mapping[Link, str]) -> Mapping[Link, int]:
    """Return how far down the number of each link of the channel stands: every other one where they are close."""
    steps: dict[Link, int] = {}
    crossing = sorted((link for link in links if link.in_channel), key=lambda link: ports[link, link.upper])
    reach = [-math.inf, -math.inf]
    for link in crossing:
        x, half = ports[link, link.upper], _pill_width(labels[link]) / 2
        steps[link] = 0 if x - half - 4.0 >= reach[0] else 1
        reach[steps[link]] = x + half
    return steps


def _channel_arrow(link: Link, ports: Ports, width: float) -> Group:
    lower = link.target if link.source.is_upper else link.source
    xs, xt = ports[link, link.source], ports[link, link.target]
    top, bottom = _below(link.upper), lower.y
    band, tail = top + _BAND, bottom - _TAIL
    head, middle = head_length(width), (band + tail) / 2
    if link.source.is_upper:
        ends, tip = (top, band, tail, bottom - head), bottom
    else:
        ends, tip = (bottom, tail, band, top + head), top
    curve = f"C{number(xs)} {number(middle)} {number(xt)} {number(middle)} {number(xt)} {number(ends[2])}"
    d = f"M{number(xs)} {number(ends[0])}V{number(ends[1])}{curve}V{number(ends[3])}"
    return draw_arrow(d, (xt, tip), (0, 1 if link.source.is_upper else -1), width, tone_of(link.flow))


def _lane_arrow(link: Link, ports: Ports, level: int, width: float) -> Group:
    xs, xt = ports[link, link.source], ports[link, link.target]
    up = -1 if link.source.is_upper else 1
    edge, lane = _outer_edge(link.source), _lane_y(link.source, level)
    side = _BEND if xt > xs else -_BEND
    d = (
        f"M{number(xs)} {number(edge)}V{number(lane - up * _BEND)}"
        f"Q{number(xs)} {number(lane)} {number(xs + side)} {number(lane)}H{number(xt - side)}"
        f"Q{number(xt)} {number(lane)} {number(xt)} {number(lane - up * _BEND)}"
        f"V{number(edge + up * head_length(width))}"
    )
    return draw_arrow(d, (xt, edge), (0, -up), width, tone_of(link.flow))


def _straight_arrow(link: Link, y: float, width: float) -> Group:
    towards = 1 if link.is_rightward else -1
    start, tip = (link.source.right, link.target.x) if towards == 1 else (link.source.x, link.target.right)
    d = f"M{number(start)} {number(y)}H{number(tip - towards * head_length(width))}"
    return draw_arrow(d, (tip, y), (towards, 0), width, tone_of(link.flow))


def _straight_y(link: Link, links: Iterable[Link]) -> float:
    middle = link.source.y + link.source.height / 2
    if not any(other.source == link.target and other.target == link.source for other in links):
        return middle
    return middle + (-_APART if link.is_rightward else _APART)


def _gap_beside(link: Link) -> float:
    """Return a place in the gap at the start of a lane, where no arrow leaves or enters a box."""
    return link.source.right + GAP / 2 if link.is_rightward else link.source.x - GAP / 2


def _pill(label: str, x: float, y: float) -> Group:
    width = _pill_width(label)
    pill = Rect(x - width / 2, y - _PILL / 2, width, _PILL, "pill", radius=_PILL / 2)
    return Group(rects=(pill,), texts=(Text(x, y + 5.0, label, _LABEL_SIZE, anchor="middle"),))


def _pill_width(label: str) -> float:
    return max(measure(label, _LABEL_SIZE) + 12.0, _PILL)


def _outer_edge(node: Node) -> float:
    return node.y if node.is_upper else _below(node)


def _lane_y(node: Node, level: int) -> float:
    distance = _FIRST_LANE + _LANE * level
    return node.y - distance if node.is_upper else _below(node) + distance


def _below(node: Node) -> float:
    return node.y + node.height


def _overlap(one: Link, other: Link) -> bool:
    a, b = sorted((one.source.place, one.target.place))
    c, d = sorted((other.source.place, other.target.place))
    return a <= d and c <= b
