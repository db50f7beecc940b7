"""Find or build the binaries of a real control plane; nothing is downloaded as a binary.

Looked for in this order: the directory KUBEBUILDER_ASSETS, our cache (by version), and else built from Go modules into
the cache: about seven minutes on two cores the first time. `python -m tests.controlplane.binaries` builds them all.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "v1.37.2"
ETCD = "v3.7.3"
KWOK = "v0.8.0"
HELM = "v4.3.1"
HERE = Path(__file__).parent


class MissingBinaryError(Exception):
    """A binary is neither there nor can it be built; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: where its module lives and which package builds it."""

    name: str
    version: str
    module: str
    """Folder of a Go module beside this file, or "" for `go install package@version`."""
    package: str
    from_assets: bool = True

    @property
    def cached(self) -> Path:
        """Return the path in the cache, whether it exists or not."""
        return cache_dir() / f"{self.name}-{self.version}"


_STAMP = "k8s.io/component-base/version"
_LDFLAGS = (
    f"-s -w -X {_STAMP}.gitVersion={KUBERNETES} -X {_STAMP}.gitMajor={KUBERNETES[1:].split('.', maxsplit=1)[0]} "
    f"-X {_STAMP}.gitMinor={KUBERNETES.split('.')[1]}"
)
BINARIES = {
    binary.name: binary
    for binary in (
        Binary("etcd", ETCD, "etcd", "."),
        Binary("kube-apiserver", KUBERNETES, "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
        Binary("kube-controller-manager", KUBERNETES, "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        Binary("kube-scheduler", KUBERNETES, "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
        Binary("kubectl", KUBERNETES, "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
        Binary("kwok", KWOK, "kubernetes", "sigs.k8s.io/kwok/cmd/kwok"),
        Binary("helm", HELM, "", "helm.sh/helm/v4/cmd/helm"),
    )
}


def cache_dir() -> Path:
    """Return the folder of built binaries (XDG_CACHE_HOME honoured)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "grovekeeper" / "controlplane"


def find(name: str) -> Path | None:
    """Return the binary's path, or None where it would have to be built."""
    binary = BINARIES[name]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).exists():
        return Path(assets) / name
    return binary.cached if binary.cached.exists() else None


def available() -> bool:
    """Return whether every binary is there or could be built here."""
    return shutil.which("go") is not None or all(find(name) for name in BINARIES)


def ensure(name: str) -> Path:
    """Return the binary's path, building it if need be; raise MissingBinaryError."""
    found = find(name)
    if found is None:
        with _alone(BINARIES[name]):
            found = find(name) or _build(BINARIES[name])
    return found


@contextlib.contextmanager
def _alone(binary: Binary) -> Iterator[None]:
    """Have only one process of this machine build a binary; the others wait for it."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f".lock-{binary.name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(binary: Binary) -> Path:
    go = shutil.which("go")
    if go is None:
        raise MissingBinaryError(
            f"{binary.name} {binary.version} is not in {cache_dir()} and there is no Go to build it: "
            "install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder that has the binaries"
        )
    print(f"building {binary.name} {binary.version}", file=sys.stderr, flush=True)
    work = cache_dir() / f".build-{binary.name}-{os.getpid()}"
    work.mkdir()
    try:
        if binary.module:
            flags = _LDFLAGS if binary.module == "kubernetes" else "-s -w"
            command = [go, "build", "-mod=mod", "-o", f"{work}/", "-ldflags", flags, binary.package]
            _run(command, HERE / binary.module)
        else:
            _run([go, "install", "-ldflags", "-s -w", f"{binary.package}@{binary.version}"], work, GOBIN=str(work))
        built = next(path for path in work.iterdir() if path.is_file())
        built.rename(binary.cached)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return binary.cached


def _run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise MissingBinaryError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    for each in BINARIES:
        print(ensure(each))
