"""The startup gate: an init container that waits until the parent cliques of its pod have enough ready pods.

One file of the standard library, run as `python -I -S initgate.py --podcliques=<fqn>:<minimum> ...`, so that it is up
in a few milliseconds. It lists and watches the pods of its own gang, counts ready ones per parent clique (by label,
exactly), and ends with 0 as soon as every parent has its minimum at the same time. There is no time-out: a pod that
waits shows what for in its log. It outlives restarts of the API server, and ends quickly on SIGTERM.
"""

import argparse
import http.client
import json
import os
import signal
import ssl
import sys
import time
import urllib.parse

TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
INFO_DIR = "/var/grove/pod-info"
LABEL_GANG = "grove.io/podgang"
LABEL_CLIQUE = "grove.io/podclique"
REPEAT_SECONDS = 30.0
TERMINATED = 143


class Gone(Exception):
    """The watch is too old: list again."""


def main(arguments=None):
    """Wait; return the exit code: 0 when the parents are there, 2 for bad arguments or a missing mount."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))
    try:
        wants = dict(parent(text) for text in options.podcliques)
        namespace = read(options.info_dir, "namespace")
        gang = read(options.info_dir, "podgangname")
    except (OSError, ValueError) as error:
        print(f"startup gate: {error}", file=sys.stderr)
        return 2
    wants = {fqn: minimum for fqn, minimum in wants.items() if minimum > 0}
    if not wants:
        say("nothing to wait for", {})
        return 0
    Waiter(options, namespace, gang, wants).run()
    say("all parents are ready", wants)
    return 0


def parse(arguments):
    """Return the options."""
    parser = argparse.ArgumentParser(description="Wait for the parent cliques of this pod.")
    parser.add_argument("--podcliques", action="append", default=[], metavar="FQN:MINIMUM")
    parser.add_argument("--api-server", default=os.environ.get("GROVEKEEPER_API_SERVER", ""))
    parser.add_argument("--token-dir", default=os.environ.get("GROVEKEEPER_TOKEN_DIR", TOKEN_DIR))
    parser.add_argument("--info-dir", default=os.environ.get("GROVEKEEPER_INFO_DIR", INFO_DIR))
    options = parser.parse_args(arguments)
    if not options.api_server:
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        options.api_server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return options


def parent(text):
    """Return (fqn, minimum) of `fqn:minimum`; raise ValueError with what is allowed."""
    fqn, _, number = text.rpartition(":")
    if not fqn or not number.isdigit():
        raise ValueError(f"--podcliques={text}: write <PodClique name>:<ready pods>, such as demo-0-leader:1")
    return fqn, int(number)


def read(folder, name):
    """Return a mounted file's text; raise OSError that says which mount is missing."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise OSError(
            f"{path} cannot be read ({error.strerror}): the pod lacks a volume of the startup gate"
        ) from error


def say(message, details):
    """Log one structured line."""
    print(json.dumps({"message": message, **details}), flush=True)


class Waiter:
    """Lists and watches until every parent has its minimum."""

    def __init__(self, options, namespace, gang, wants):
        self.options = options
        self.namespace = namespace
        self.wants = wants
        self.path = f"/api/v1/namespaces/{urllib.parse.quote(namespace)}/pods"
        self.selector = urllib.parse.quote(f"{LABEL_GANG}={gang}")
        self.ready = {}
        self.said = ("", 0.0)

    def run(self):
        """Return when every parent is ready; trouble is waited out with growing pauses."""
        pause = 0.1
        while True:
            try:
                version = self.list()
                pause = 0.1
                if self.enough():
                    return
                if self.watch(version):
                    return
            except Gone:
                continue
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.report(f"the API server does not answer ({error}), trying again", {})
                time.sleep(pause)
                pause = min(pause * 2, 5.0)

    def list(self):
        """Read all pods of the gang; return the version to watch from."""
        answer = self.open(f"{self.path}?labelSelector={self.selector}")
        body = json.load(answer)
        self.ready = {}
        for pod in body["items"]:
            self.take("ADDED", pod)
        return body["metadata"]["resourceVersion"]

    def watch(self, version):
        """Follow changes; return True when enough, False when the server ends the watch."""
        query = f"labelSelector={self.selector}&watch=true&resourceVersion={version}&timeoutSeconds=300"
        answer = self.open(f"{self.path}?{query}")
        while True:
            self.progress()
            line = answer.readline()
            if not line:
                return False
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise Gone
            self.take(event["type"], event["object"])
            if self.enough():
                return True

    def take(self, kind, pod):
        """Count one pod."""
        metadata = pod["metadata"]
        clique = (metadata.get("labels") or {}).get(LABEL_CLIQUE)
        if clique not in self.wants:
            return
        conditions = (pod.get("status") or {}).get("conditions") or ()
        is_ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
        members = self.ready.setdefault(clique, set())
        if kind != "DELETED" and is_ready and not metadata.get("deletionTimestamp"):
            members.add(metadata["name"])
        else:
            members.discard(metadata["name"])

    def enough(self):
        """Return whether every parent has its minimum now."""
        return all(len(self.ready.get(fqn, ())) >= minimum for fqn, minimum in self.wants.items())

    def progress(self):
        """Log what is missing, when it changes and every 30 s."""
        missing = {
            fqn: f"{len(self.ready.get(fqn, ()))} of {minimum} ready"
            for fqn, minimum in self.wants.items()
            if len(self.ready.get(fqn, ())) < minimum
        }
        self.report("waiting for parent cliques", missing)

    def report(self, message, details):
        """Log unless the same was said a moment ago."""
        text = message + json.dumps(details, sort_keys=True)
        if text != self.said[0] or time.monotonic() - self.said[1] > REPEAT_SECONDS:
            self.said = (text, time.monotonic())
            say(message, details)

    def open(self, path):
        """Return the answer to a GET; raise OSError for anything but 200, Gone for 410."""
        url = urllib.parse.urlsplit(self.options.api_server)
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=os.path.join(self.options.token_dir, "ca.crt"))
            connection = http.client.HTTPSConnection(url.netloc, timeout=330, context=context)
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=330)
        # Read anew each time: tokens are renewed on disk.
        token = read(self.options.token_dir, "token")
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status == http.client.GONE:
            raise Gone
        if answer.status != http.client.OK:
            raise OSError(f"HTTP {answer.status}")
        return answer


if __name__ == "__main__":
    sys.exit(main())
