"""Whether an object still is what a writer has seen of it. Everything here raises StatusError 409 where it is not."""

from grovekeeper.api import raw
from grovekeeper.embedded import answers
from grovekeeper.embedded.call import Call

_CHANGED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(call: Call, why: str = _CHANGED) -> answers.StatusError:
    """Return the answer to a write that came too late."""
    text = f'Operation cannot be fulfilled on {call.kind.plural} "{call.name}": {why}'
    return answers.StatusError(409, "Conflict", text)


def check_version(call: Call, body: raw.Object, live: raw.Object) -> None:
    """Hold a write to the resourceVersion that its body names, if it names one."""
    version = (body.get("metadata") or {}).get("resourceVersion")
    if version and version != live["metadata"]["resourceVersion"]:
        raise conflict(call)


def check_patched(call: Call, new: raw.Object, live: raw.Object) -> None:
    """Hold a patch to the object that it was made of: its uid stays, and its resourceVersion where it has one."""
    metadata = live["metadata"]
    if new["metadata"].get("uid") != metadata["uid"]:
        raise conflict(call)
    if new["metadata"].get("resourceVersion") not in (None, metadata["resourceVersion"]):
        raise conflict(call)


def check_options(call: Call, options: raw.Object, live: raw.Object) -> None:
    """Hold a deletion to the preconditions of its options."""
    wanted = options.get("preconditions") or {}
    for key in ("uid", "resourceVersion"):
        if wanted.get(key) and wanted[key] != live["metadata"][key]:
            raise conflict(call)
