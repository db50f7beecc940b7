"""The ControllerRevision of a set's template: name `<set>-<hash>`, owner the set, data the raw spec.template."""

from grovekeeper.api import raw
from grovekeeper.expand import labels, model, revision


def name(w: model.Workload) -> str:
    """Return the name of the revision of the set's template."""
    return f"{w.name}-{revision.whole_template_hash(w.raw['spec']['template'])}"


def controller_revision(w: model.Workload, number: int) -> raw.Object:
    """Return the ControllerRevision of the set's template with this number (1 for the first)."""
    wanted = name(w)
    marks = labels.managed(w, wanted, f"{w.dialect.component_prefix}-revision")
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": labels.metadata(wanted, w.namespace, marks, w.raw),
        "revision": number,
        "data": w.raw["spec"]["template"],
    }
