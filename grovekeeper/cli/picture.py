"""A picture of the cluster as SVG: domains as boxes, nodes as cells, each filled by the gangs that it holds."""

from collections.abc import Mapping
from html import escape

from grovekeeper.api import names, raw
from grovekeeper.cli import capacity
from grovekeeper.placement import shape

_COLORS = ("#3b6fb6", "#d9822b", "#3f9c5a", "#b5485d", "#7a5ab5", "#8c6d3f", "#2f9aa0", "#c25fa5", "#8a9a2c", "#5f6f81")
_CELL, _GAP, _PAD, _TITLE = 34, 4, 10, 18
_WIDE = 9
_OTHERS = "#b8bec6"


def svg(room: capacity.Capacity, gangs: Mapping[str, Mapping[str, str]]) -> str:
    """Return the drawing. `gangs` maps a gang to its pods' nodes; pods that are there already are drawn as well."""
    held = _held(room, gangs)
    listed = sorted({gang for node in held.values() for gang in node if gang})
    colors = {gang: _COLORS[number % len(_COLORS)] for number, gang in enumerate(listed)}
    boxes: dict[str, list[raw.Object]] = {}
    keys = [key for domain, key in room.levels_of(next(iter(room.bindings), None)).items() if domain != "host"][-2:]
    for node in room.nodes:
        labels = node["metadata"].get("labels") or {}
        boxes.setdefault(" / ".join(labels.get(key, "?") for key in keys) or "nodes", []).append(node)
    parts: list[str] = []
    y = _PAD
    for title, nodes in sorted(boxes.items()):
        rows = -(-len(nodes) // _WIDE)
        height = _TITLE + rows * (_CELL + _GAP) + _PAD
        width = _WIDE * (_CELL + _GAP) + 2 * _PAD
        parts.append(
            f'<rect x="{_PAD}" y="{y}" width="{width}" height="{height}" rx="6" fill="#f4f6f8" stroke="#ccd3da"/>'
        )
        parts.append(f'<text x="{2 * _PAD}" y="{y + 13}" font-size="11" fill="#39424e">{escape(title)}</text>')
        for number, node in enumerate(sorted(nodes, key=lambda each: str(each["metadata"]["name"]))):
            left = 2 * _PAD + number % _WIDE * (_CELL + _GAP)
            top = y + _TITLE + number // _WIDE * (_CELL + _GAP)
            parts += _cell(node, held.get(node["metadata"]["name"], {}), colors, left, top)
        y += height + _PAD
    x = _WIDE * (_CELL + _GAP) + 5 * _PAD
    for number, gang in enumerate(listed):
        top = _PAD + number * 18
        parts.append(f'<rect x="{x}" y="{top}" width="12" height="12" fill="{colors[gang]}"/>')
        parts.append(f'<text x="{x + 18}" y="{top + 10}" font-size="11" fill="#39424e">{escape(gang)}</text>')
    height, width = max(y, _PAD + len(listed) * 18 + _PAD), x + 260
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def _held(room: capacity.Capacity, gangs: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, int]]:
    """Return pods by gang ("" for those of nobody) by node."""
    result: dict[str, dict[str, int]] = {}
    for pod in room.pods:
        node = pod["spec"].get("nodeName")
        if node:
            gang = (pod["metadata"].get("labels") or {}).get(names.LABEL_PODGANG, "")
            mine = result.setdefault(node, {})
            mine[gang] = mine.get(gang, 0) + 1
    for gang, pods in gangs.items():
        for node in pods.values():
            mine = result.setdefault(node, {})
            mine[gang] = mine.get(gang, 0) + 1
    return result


def _cell(node: raw.Object, held: Mapping[str, int], colors: Mapping[str, str], left: int, top: int) -> list[str]:
    name = node["metadata"]["name"]
    text = ", ".join(f"{gang or 'others'}: {count} pods" for gang, count in sorted(held.items())) or "empty"
    stroke = "#8793a1" if shape.ready(node) and not (node.get("spec") or {}).get("unschedulable") else "#c0392b"
    parts = [f"<g><title>{escape(name)} - {escape(text)}</title>"]
    parts.append(f'<rect x="{left}" y="{top}" width="{_CELL}" height="{_CELL}" fill="white" stroke="{stroke}"/>')
    total = sum(held.values())
    used = 0
    for gang, count in sorted(held.items()):
        y, height = top + _CELL * used / total, _CELL * count / total
        color = colors.get(gang, _OTHERS)
        parts.append(f'<rect x="{left}" y="{y:.1f}" width="{_CELL}" height="{height:.1f}" fill="{color}"/>')
        used += count
    parts.append("</g>")
    return parts
