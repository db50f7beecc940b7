"""A picture of the cluster as SVG: domains as boxes in boxes, nodes as cells that gangs fill, with a legend."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from grovekeeper.api import names, raw
from grovekeeper.cli import capacity
from grovekeeper.placement import shape

_COLORS = ("#3b6fb6", "#e08a2e", "#3f9c5a", "#c14f64", "#7d5fc0", "#97743f", "#2c9aa3", "#cc67ad", "#8f9c2f", "#607387")
"""Told apart by most people with a colour weakness, too; further gangs get them again, lighter."""
_OTHERS, _FREE, _AWAY = "#c3c9d1", "#ffffff", "#f0d9d6"
_GAP, _PAD, _TITLE, _LEGEND = 3, 8, 17, 280
_STYLE = (
    "text{font-family:system-ui,sans-serif;fill:#2b333d}.t{font-size:12px;font-weight:600}.s{font-size:11px}"
    ".n{font-size:11px;fill:#6a7480}.m{font-size:16px;font-weight:600}"
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Pods of a gang: each with its node and what it asks for."""

    gang: str
    pods: Sequence[tuple[str, shape.Requests]]


@dataclass(slots=True)
class _Box:
    """A domain: its boxes inside, or its nodes."""

    title: str
    inside: list["_Box"] = field(default_factory=list)
    nodes: list[raw.Object] = field(default_factory=list)

    def everyone(self) -> list[raw.Object]:
        """Return all nodes inside."""
        return [*self.nodes, *(node for box in self.inside for node in box.everyone())]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A piece of the picture and its size."""

    width: float
    height: float
    parts: list[str]


def svg(room: capacity.Capacity, gangs: Iterable[Placed]) -> str:
    """Return the drawing. `gangs` is what would be placed; pods that are there already are drawn as well."""
    held, counts = _held(room, gangs)
    listed = sorted((gang for gang in counts if gang), key=lambda gang: (-counts[gang], gang))
    colors = {gang: _color(number) for number, gang in enumerate(listed)}
    root = _tree(room)
    cell = 40 if len(room.nodes) <= 60 else 20 if len(room.nodes) <= 200 else 13
    painter = _Painter(held, colors, cell)
    width = max(420.0, 1500.0 - _LEGEND)
    drawn = painter.row(root.inside or [root], width, top=True)
    used = len({node for node, pods in held.items() if any(pods)})
    headline = f"{len(room.nodes)} nodes, {len(room.nodes) - used} without a gang, {len(listed)} gangs"
    legend = _legend(listed, counts, colors)
    x, y = drawn.width + 3 * _PAD, 34.0
    total_width, total_height = x + _LEGEND, max(drawn.height, legend.height) + y + _PAD
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width:.0f} {total_height:.0f}" '
    return "\n".join(
        [
            f'{head}width="{total_width:.0f}" height="{total_height:.0f}">',
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text class="m" x="{_PAD}" y="24">{escape(headline)}</text>',
            f'<g transform="translate({_PAD} {y})">',
            *drawn.parts,
            "</g>",
            f'<g transform="translate({x:.0f} {y})">',
            *legend.parts,
            "</g></svg>",
            "",
        ]
    )


def html(drawing: str) -> str:
    """Return the drawing as a page of its own."""
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Cluster</title>\n{drawing}</html>\n'


def _tree(room: capacity.Capacity) -> _Box:
    """Return the cluster's domains, broadest first, but for levels that tell nothing: one domain, or single nodes."""
    known = room.main_levels()
    labels = [node["metadata"].get("labels") or {} for node in room.nodes]
    keys = []
    for domain, key in known.items():
        count = len({entry[key] for entry in labels if key in entry})
        if 1 < count <= len(labels) / 2:
            keys.append((domain, key))
    root = _Box("cluster")
    boxes: dict[tuple[str, ...], _Box] = {(): root}
    for node in sorted(room.nodes, key=lambda each: str(each["metadata"]["name"])):
        path: tuple[str, ...] = ()
        for domain, key in keys:
            value = (node["metadata"].get("labels") or {}).get(key)
            above, path = boxes[path], (*path, value or "")
            if path not in boxes:
                boxes[path] = _Box(f"{domain} {value}" if value else f"no {domain}")
                above.inside.append(boxes[path])
        boxes[path].nodes.append(node)
    for box in boxes.values():
        box.inside.sort(key=lambda each: each.title)
    return root


class _Painter:
    """Draws boxes from the inside out: a box is as large as what is in it."""

    def __init__(self, held: Mapping[str, Mapping[str, float]], colors: Mapping[str, str], cell: int) -> None:
        self._held = held
        self._colors = colors
        self._cell = cell

    def row(self, boxes: Sequence[_Box], width: float, *, top: bool = False) -> _Drawn:
        """Return boxes side by side, in as many rows as the width asks for."""
        parts: list[str] = []
        x = y = height = widest = 0.0
        for box in boxes:
            drawn = self.box(box, width if top else width - 2 * _PAD)
            if x and x + drawn.width > width:
                x, y, height = 0.0, y + height + _PAD, 0.0
            parts += [f'<g transform="translate({x:.0f} {y:.0f})">', *drawn.parts, "</g>"]
            x, height, widest = x + drawn.width + _PAD, max(height, drawn.height), max(widest, x + drawn.width)
        return _Drawn(widest, y + height, parts)

    def box(self, box: _Box, width: float) -> _Drawn:
        """Return one domain with what is in it."""
        inner = self.row(box.inside, width - 2 * _PAD) if box.inside else self.cells(box.nodes)
        everyone = box.everyone()
        free = sum(1 for node in everyone if not self._held.get(node["metadata"]["name"]) and _open(node))
        # A title is about 7 units a letter; the count of free nodes is left out where it does not fit.
        note = f"{free} of {len(everyone)} free"
        wide = max(inner.width + 2 * _PAD, 7.0 * len(box.title) + 2 * _PAD)
        noted = wide > 7.0 * (len(box.title) + len(note)) + 3 * _PAD
        tall = inner.height + _TITLE + 2 * _PAD
        fill = "#f3f5f8" if box.inside else "#e9edf2"
        parts = [
            f'<rect width="{wide:.0f}" height="{tall:.0f}" rx="6" fill="{fill}" stroke="#d3d9e0"/>',
            f'<text class="t" x="{_PAD}" y="{_TITLE}">{escape(box.title)}</text>',
        ]
        if noted:
            parts.append(f'<text class="n" text-anchor="end" x="{wide - _PAD:.0f}" y="{_TITLE}">{note}</text>')
        else:
            parts.append(f"<title>{escape(box.title)}: {note}</title>")
        parts += [f'<g transform="translate({_PAD} {_TITLE + _PAD})">', *inner.parts, "</g>"]
        return _Drawn(wide, tall, parts)

    def cells(self, nodes: Sequence[raw.Object]) -> _Drawn:
        """Return nodes as cells, six to ten in a row: as many as leave the fewest gaps."""
        count = max(1, len(nodes))
        columns = min(count, min(range(10, 5, -1), key=lambda number: -count % number))
        step = self._cell + _GAP
        parts = []
        for number, node in enumerate(nodes):
            x, y = number % columns * step, number // columns * step
            parts += [f'<g transform="translate({x} {y})">', *self._node(node), "</g>"]
        rows = -(-len(nodes) // columns)
        return _Drawn(columns * step - _GAP, rows * step - _GAP, parts)

    def _node(self, node: raw.Object) -> Iterator[str]:
        """Yield a node: filled from below, by the share of its scarcest resource that each gang has asked for."""
        name = node["metadata"]["name"]
        held = self._held.get(name, {})
        texts = [f"{gang or 'others'} {share:.0%}" for gang, share in sorted(held.items())] or ["free"]
        away = "" if _open(node) else " (not ready, or cordoned)"
        size = self._cell
        yield f"<title>{escape(name + away)}: {escape(', '.join(texts))}</title>"
        fill, stroke = (_FREE, "#aab3be") if not away else (_AWAY, "#c0392b")
        yield f'<rect width="{size}" height="{size}" rx="3" fill="{fill}" stroke="{stroke}"/>'
        # What asks for next to nothing is still to be seen.
        shares = {gang: max(0.12, share) for gang, share in held.items()}
        total = max(1.0, sum(shares.values()))
        y = float(size)
        for gang, share in sorted(shares.items()):
            tall = size * share / total
            y -= tall
            color = self._colors.get(gang, _OTHERS)
            yield f'<rect x="0" y="{y:.1f}" width="{size}" height="{tall:.1f}" rx="3" fill="{color}"/>'


def _legend(listed: Sequence[str], counts: Mapping[str, int], colors: Mapping[str, str]) -> _Drawn:
    """Return the gangs by size with their colours, and what the other colours mean."""
    shown = listed[:40]
    entries = [(colors[gang], f"{_short(gang)} ({counts[gang]} pods)", gang) for gang in shown]
    if len(listed) > len(shown):
        entries.append((_FREE, f"and {len(listed) - len(shown)} more", "see the cells' tool tips"))
    entries += [(_OTHERS, "pods of others", ""), (_FREE, "free", ""), (_AWAY, "not ready, or cordoned", "")]
    parts = []
    for number, (color, text, tip) in enumerate(entries):
        y = number * 19
        parts.append(f'<rect y="{y}" width="13" height="13" rx="3" fill="{color}" stroke="#aab3be"/>')
        parts.append(f'<text class="s" x="20" y="{y + 11}">{escape(text)}<title>{escape(tip or text)}</title></text>')
    return _Drawn(_LEGEND, len(entries) * 19, parts)


def _color(number: int) -> str:
    """Return a gang's colour: the palette, then the palette mixed with white."""
    color = _COLORS[number % len(_COLORS)]
    white = min(0.6, 0.3 * (number // len(_COLORS)))
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(value + (255 - value) * white):02x}" for value in channels)


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:14]}…{text[-15:]}"


def _open(node: raw.Object) -> bool:
    return shape.ready(node) and not (node.get("spec") or {}).get("unschedulable")


def _held(room: capacity.Capacity, gangs: Iterable[Placed]) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Return by node the share of its scarcest resource that each gang asks for ("" for pods of nobody), and pods by
    gang. Pods that every node has are left out.
    """
    offered = {node["metadata"]["name"]: capacity.offered(node) for node in room.nodes}
    sums: dict[str, dict[str, shape.Requests]] = {}
    counts: dict[str, int] = {}
    for gang, node, asked in (*_there(room), *((each.gang, *pod) for each in gangs for pod in each.pods)):
        counts[gang] = counts.get(gang, 0) + 1
        mine = sums.setdefault(node, {}).setdefault(gang, {})
        for name, amount in asked.items():
            mine[name] = mine.get(name, 0) + amount
    shares = {
        node: {gang: _share(asked, offered[node]) for gang, asked in by_gang.items()}
        for node, by_gang in sums.items()
        if node in offered
    }
    return shares, counts


def _share(asked: shape.Requests, offered: shape.Requests) -> float:
    return max((amount / offered[name] for name, amount in asked.items() if offered.get(name)), default=0.0)


def _there(room: capacity.Capacity) -> Iterator[tuple[str, str, shape.Requests]]:
    for pod in room.pods:
        node = pod["spec"].get("nodeName")
        owners = pod["metadata"].get("ownerReferences") or ()
        over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if node and not over and not any(owner.get("kind") in ("DaemonSet", "Node") for owner in owners):
            yield (pod["metadata"].get("labels") or {}).get(names.LABEL_PODGANG, ""), node, capacity.asked(pod)
