"""What the multi-node NVLink annotations of one level ask for: `grove.io/mnnvl-group` and the older boolean."""

from collections.abc import Mapping

from grovekeeper.api import names

OPT_OUT = "none"
AUTO_GROUP = "auto"
"""The group that `grove.io/auto-mnnvl: enabled` means."""
BOOLEAN = {"enabled": AUTO_GROUP, "true": AUTO_GROUP, "disabled": OPT_OUT, "false": OPT_OUT}

SWITCHED_OFF = (
    "multi-node NVLink is switched off: have it switched on (chart value autoMnnvl, setting auto_mnnvl), or remove the "
    "annotation"
)
NO_DRIVER = (
    "ComputeDomains (resource.nvidia.com/v1beta1) are not served: install NVIDIA's DRA driver for GPUs, or remove the "
    "annotation"
)


def asked(annotations: Mapping[str, str] | None) -> str | None:
    """Return the group that a level asks for, OPT_OUT where it opts out, None where it says nothing.

    A boolean of an unknown word counts as nothing: validation refuses it.
    """
    found = annotations or {}
    group = found.get(names.ANNOTATION_MNNVL_GROUP)
    return group if group is not None else BOOLEAN.get(found.get(names.ANNOTATION_AUTO_MNNVL, ""))
