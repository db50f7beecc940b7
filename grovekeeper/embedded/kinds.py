"""The kinds that are served: the built-in ones that Grovekeeper's world needs, and those of installed CRDs."""

from dataclasses import dataclass, field

from grovekeeper.api import raw


@dataclass(slots=True)
class Kind:
    """One served kind."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    definition: str = ""
    """Name in the OpenAPI document, for built-in kinds."""
    schema: raw.Object | None = None
    """Structural schema, for custom kinds."""
    scale: raw.Object | None = None
    has_status: bool = True
    columns: tuple[raw.Object, ...] = ()
    categories: tuple[str, ...] = field(default=())

    @property
    def collection(self) -> tuple[str, str]:
        """Return the storage's name for the kind."""
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        """Return group/version."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """Return plural.group, as messages name a resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def full(self, obj: raw.Object) -> raw.Object:
        """Return an object of the kind with apiVersion and kind, which the storage need not hold."""
        return {"apiVersion": self.api_version, "kind": self.kind, **obj}


_EVENT_COLUMNS = (
    *({"name": name, "type": "string", "jsonPath": f".{name.lower()}"} for name in ("Type", "Reason")),
    {"name": "Kind", "type": "string", "jsonPath": ".involvedObject.kind"},
    {"name": "Object", "type": "string", "jsonPath": ".involvedObject.name"},
    {"name": "Message", "type": "string", "jsonPath": ".message"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)


def built_in() -> list[Kind]:
    """Return the built-in kinds."""
    rbac, admission = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
    rows: list[tuple[str, str, str, str, bool, str]] = [
        ("", "v1", "pods", "Pod", True, "po"),
        ("", "v1", "nodes", "Node", False, "no"),
        ("", "v1", "namespaces", "Namespace", False, "ns"),
        ("", "v1", "services", "Service", True, "svc"),
        ("", "v1", "serviceaccounts", "ServiceAccount", True, "sa"),
        ("", "v1", "secrets", "Secret", True, ""),
        ("", "v1", "configmaps", "ConfigMap", True, "cm"),
        ("", "v1", "events", "Event", True, "ev"),
        ("apps", "v1", "controllerrevisions", "ControllerRevision", True, ""),
        ("coordination.k8s.io", "v1", "leases", "Lease", True, ""),
        (rbac, "v1", "roles", "Role", True, ""),
        (rbac, "v1", "rolebindings", "RoleBinding", True, ""),
        (rbac, "v1", "clusterroles", "ClusterRole", False, ""),
        (rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", False, ""),
        ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, "hpa"),
        ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, "pdb"),
        ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, "pc"),
        ("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True, ""),
        ("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate", True, ""),
        ("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", False, ""),
        ("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False, ""),
        ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False, "crd"),
        (admission, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False, ""),
        (admission, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False, ""),
    ]
    special = {"apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"}
    result = []
    for group, version, plural, kind, namespaced, short in rows:
        package = special.get(group) or f"io.k8s.api.{(group or 'core').partition('.')[0]}.{version}"
        shorts = (short,) if short else ()
        categories = ("all",) if plural in ("pods", "services", "horizontalpodautoscalers") else ()
        definition = f"{package}.{kind}"
        columns = _EVENT_COLUMNS if kind == "Event" else ()
        result.append(
            Kind(group, version, plural, kind, namespaced, shorts, definition, columns=columns, categories=categories)
        )
    return result


def of_definition(crd: raw.Object) -> list[Kind]:
    """Return the kinds of a CustomResourceDefinition, one a served version."""
    spec = crd["spec"]
    words = spec["names"]
    return [
        Kind(
            spec["group"],
            version["name"],
            words["plural"],
            words["kind"],
            spec["scope"] == "Namespaced",
            tuple(words.get("shortNames") or ()),
            schema=version["schema"]["openAPIV3Schema"],
            scale=(version.get("subresources") or {}).get("scale"),
            has_status="status" in (version.get("subresources") or {}),
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            categories=tuple(words.get("categories") or ()),
        )
        for version in spec["versions"]
        if version.get("served")
    ]
