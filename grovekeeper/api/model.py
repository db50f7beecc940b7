"""What all models share: the base class, and field types that carry their schema into the CRD."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from grovekeeper.api import raw

LIST_MAP = {"x-kubernetes-list-type": "map"}


class Model(BaseModel):
    """A part of a kind. Unknown fields are refused here and pruned by the API server."""

    # Docstrings of fields become what `kubectl explain` says.
    model_config = ConfigDict(extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


def kubernetes(definition: str) -> object:
    """Return schema metadata that stands for a definition of Kubernetes' own, filled in by the CRD generator."""
    return WithJsonSchema({"x-definition": f"io.k8s.{definition}"})


PodSpec = Annotated[raw.Object, kubernetes("api.core.v1.PodSpec")]
MetricSpec = Annotated[raw.Object, kubernetes("api.autoscaling.v2.MetricSpec")]
TopologySpreadConstraint = Annotated[raw.Object, kubernetes("api.core.v1.TopologySpreadConstraint")]
ResourceClaimSpec = Annotated[raw.Object, kubernetes("api.resource.v1.ResourceClaimSpec")]
Condition = Annotated[raw.Object, kubernetes("apimachinery.pkg.apis.meta.v1.Condition")]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Duration = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"})]
Count = Annotated[int, Field(ge=0, le=2_147_483_647, json_schema_extra={"format": "int32"})]
Positive = Annotated[int, Field(ge=1, le=2_147_483_647, json_schema_extra={"format": "int32"})]
Generation = Annotated[int, WithJsonSchema({"type": "integer", "format": "int64"})]
Domain = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9-]*$")]
Conditions = Annotated[list[Condition], Field(json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["type"]})]


def rules(*entries: raw.Object) -> raw.Object:
    """Return CEL rules for a model's schema: {"rule", "message"[, "reason", "fieldPath", "optionalOldSelf"]}."""
    return {"x-kubernetes-validations": list(entries)}
