"""The picture as a browser lays it out: no text over another one, out of its box, or cut off.

Needs Chromium (Debian's package `chromium`) in the PATH.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from grovekeeper.cli import capacity, picture

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
LOOK = """<script>
const found = new Set(), svg = document.querySelector('svg'), all = svg.getBoundingClientRect();
const texts = [...svg.querySelectorAll('text')].map(each => [each, each.firstChild.textContent,
                                                             each.getBoundingClientRect()]);
for (const [text, said, at] of texts) {
  if (at.right > all.right + 1 || at.bottom > all.bottom + 1 || at.left < all.left - 1) found.add('cut off: ' + said);
  const box = text.parentNode.querySelector(':scope > rect');
  if (box && !text.classList.contains('s')) {
    const around = box.getBoundingClientRect();
    if (at.right > around.right + 1 || at.left < around.left - 1) found.add('out of its box: ' + said);
  }
}
texts.forEach(([, said, a], number) => texts.slice(number + 1).forEach(([, other, b]) => {
  if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
    found.add('over each other: ' + said + ' and ' + other);
}));
document.title = JSON.stringify({texts: texts.length, wrong: [...found]});
</script></html>"""


def node(index: int, per_rack: int, rack: str) -> dict[str, Any]:
    labels = {"kubernetes.io/block": f"b{index // per_rack // 2}", "kubernetes.io/rack": f"{rack}{index // per_rack}"}
    status = {"allocatable": {"gpu": "8", "pods": "9"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": f"n{index:04}", "labels": labels}, "spec": {}, "status": status}


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium in the PATH")
@pytest.mark.parametrize(
    ("nodes", "per_rack", "rack"),
    [(28, 7, "r"), (28, 2, "r"), (28, 7, "a-rack-with-a-name-that-is-quite-long-<&>-"), (300, 18, "r"), (60, 2, "")],
)
def test_a_browser_shows_every_text_whole_and_by_itself(tmp_path: Path, nodes: int, per_rack: int, rack: str) -> None:
    room = capacity.Capacity([node(index, per_rack, rack) for index in range(nodes)], [], {})
    gangs = [
        picture.Placed(f"team-{number}/a-gang-with-a-long-name-{number}", [(f"n{number:04}", {"gpu": 4})])
        for number in range(min(nodes, 45))
    ]
    page = tmp_path / "cluster.html"
    page.write_text(picture.html(picture.svg(room, gangs)).replace("</html>", LOOK), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom")
    shown = subprocess.run([str(BROWSER), *options, page.as_uri()], capture_output=True, text=True, check=True).stdout
    title = re.search(r"<title>(\{.*?\})</title>", shown, re.DOTALL)
    assert title is not None, shown[:500]
    told = json.loads(html.unescape(title[1]))
    assert told["texts"] > nodes // per_rack
    assert told["wrong"] == []
