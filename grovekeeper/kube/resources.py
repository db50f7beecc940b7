"""The kinds that the house talks about, as the API server's paths need them."""

from dataclasses import dataclass

from grovekeeper.api import names


@dataclass(frozen=True, slots=True)
class Resource:
    """Coordinates of one kind."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return `group/version`, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, or of one object."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            path += f"/namespaces/{namespace}"
        path += f"/{self.plural}"
        if name:
            path += f"/{name}"
        return f"{path}/{subresource}" if subresource else path


def absent(resource: Resource) -> str:
    """Return the sentence about a kind that the server does not serve, with the next step."""
    if resource.group not in (names.GROUP, names.SCHEDULER_GROUP):
        return f"this cluster does not serve {resource.plural} of {resource.api_version}"
    definition = f"{resource.plural}.{resource.group}"
    return f"the CustomResourceDefinition {definition} is not installed: {INSTALL_CRDS}"


INSTALL_CRDS = "kubectl apply --server-side -f charts/grovekeeper/crds"
"""The command that installs all of them; Helm does so only when it installs for the first time."""

PODS = Resource("", "v1", "pods", "Pod")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
SERVICES = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
SECRETS = Resource("", "v1", "secrets", "Secret")
EVENTS = Resource("", "v1", "events", "Event")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
PDBS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
RESOURCE_CLAIMS = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim")
RESOURCE_CLAIM_TEMPLATES = Resource("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate")
COMPUTE_DOMAINS = Resource("resource.nvidia.com", "v1beta1", "computedomains", "ComputeDomain")
MUTATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False
)
VALIDATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
)
PODGANGSETS = Resource(names.GROUP, names.VERSION, "podgangsets", names.PODGANGSET)
PODCLIQUESETS = Resource(names.GROUP, names.VERSION, "podcliquesets", names.PODCLIQUESET)
SETS = {names.PODGANGSET: PODGANGSETS, names.PODCLIQUESET: PODCLIQUESETS}
"""The top kind in its two spellings, by kind."""
PODCLIQUES = Resource(names.GROUP, names.VERSION, "podcliques", names.PODCLIQUE)
SCALINGGROUPS = Resource(names.GROUP, names.VERSION, "podcliquescalinggroups", names.SCALINGGROUP)
PODGANGS = Resource(names.SCHEDULER_GROUP, names.VERSION, "podgangs", names.PODGANG)
TOPOLOGY_BINDINGS = Resource(names.GROUP, names.VERSION, "clustertopologybindings", names.TOPOLOGY_BINDING, False)
KAI_PODGROUPS = Resource("scheduling.run.ai", "v2alpha2", "podgroups", "PodGroup")
KAI_QUEUES = Resource("scheduling.run.ai", "v2", "queues", "Queue", False)
KAI_TOPOLOGIES = Resource("kai.scheduler", "v1alpha1", "topologies", "Topology", False)
VOLCANO_PODGROUPS = Resource("scheduling.volcano.sh", "v1beta1", "podgroups", "PodGroup")
VOLCANO_QUEUES = Resource("scheduling.volcano.sh", "v1beta1", "queues", "Queue", False)
PODGROUPS = Resource("scheduling.k8s.io", "v1beta1", "podgroups", "PodGroup")
