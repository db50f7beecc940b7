"""Two `make` at once in a fresh clone make one environment."""

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("environment.sh")
PYTHON = f"""\
#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p $3/bin && cp "$0" $3/bin/python ;;
  "-m pip "*) cp uv .venv/bin/uv && sleep 2 && chmod +x .venv/bin/uv ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
UV = f"""\
#!/bin/sh
{sys.executable} -c 'import fcntl; fcntl.flock(open(".venv/.lock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)' || exit
echo "$*" >> asked
"""
"""uv has a lock of its own in the environment."""


def test_two_installations_at_once_are_one(tmp_path: Path) -> None:
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "uv").write_text(UV)
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        (tmp_path / name).touch()
    shutil.copy(SCRIPT, tmp_path)
    command = ["bash", "environment.sh", "./python", ".venv", "run"]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2, asked  # the requirements and the package, once
    assert said.count("installing into .venv") == 1
    assert said.count("waiting for another make that installs into .venv") == 1
    # What has changed since is installed, and the other kind is another environment.
    assert subprocess.run([*command[:-1], "dev"], cwd=tmp_path, check=False, capture_output=True).returncode == 0
    assert len((tmp_path / "asked").read_text().splitlines()) == 4
