"""Names on the wire: groups, kinds, labels, annotations, finalizers, gates, environment variables.

Source: the published API of Grove. `Dialect` holds what differs between the two spellings of the top kind;
nothing else in the house branches on the kind.
"""

from dataclasses import dataclass

GROUP = "grove.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
SCHEDULER_GROUP = "scheduler.grove.io"
SCHEDULER_API_VERSION = f"{SCHEDULER_GROUP}/{VERSION}"

PODGANGSET = "PodGangSet"
PODCLIQUESET = "PodCliqueSet"
PODCLIQUE = "PodClique"
SCALINGGROUP = "PodCliqueScalingGroup"
PODGANG = "PodGang"
TOPOLOGY_BINDING = "ClusterTopologyBinding"

FIELD_MANAGER = "grovekeeper"
MANAGED_BY = "grove-operator"
"""Value of app.kubernetes.io/managed-by. Grove's own, so that existing selectors go on working."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PODCLIQUE = "grove.io/podclique"
LABEL_PODGANG = "grove.io/podgang"
LABEL_BASE_PODGANG = "grove.io/base-podgang"
LABEL_SCALINGGROUP = "grove.io/podcliquescalinggroup"
LABEL_SCALINGGROUP_INDEX = "grove.io/podcliquescalinggroup-replica-index"
LABEL_POD_INDEX = "grove.io/podclique-pod-index"
LABEL_TEMPLATE_HASH = "grove.io/pod-template-hash"
LABEL_SCHEDULER = "grove.io/scheduler-name"
LABEL_REPRESENTATIVE = "grovekeeper.io/represents"
"""On one pod per replica: the scale subresources of groups ("group") and sets ("set") select by it."""
LABEL_MNNVL_GROUP = "grove.io/mnnvl-group"
LABEL_KAI_SUBGROUP = "kai.scheduler/subgroup-name"
LABEL_KAI_NODE_POOL = "kai.scheduler/node-pool"
KAI_QUEUE = "kai.scheduler/queue"
"""Label, or annotation, on a set or its cliques: the queue that KAI charges."""

ANNOTATION_INTENT = "grovekeeper.io/intent"
"""On a Pod at creation: what the webhook turns into gate, init gate, environment and hostname."""
ANNOTATION_INJECTED = "grovekeeper.io/injected"
"""On a Pod after the webhook. Its absence on a created pod means that the webhook is missing."""
ANNOTATION_PLACEMENT = "grovekeeper.io/placement"
"""On a PodGang: the persisted decision, pod name to node name, written before it is carried out."""
ANNOTATION_RESERVED = "grovekeeper.io/reserved"
"""On a PodGang: pod hostname to the node where it was last, so that a successor goes back there."""
ANNOTATION_SCORE = "grovekeeper.io/placement-score"
"""On a PodGang: the score of the persisted decision, until it is in the status."""
ANNOTATION_TEMPLATE_REPLICAS = "grovekeeper.io/template-replicas"
"""On a PodClique or PodCliqueScalingGroup: the template's replicas when they were last passed on (trap 20)."""
ANNOTATION_MOVED = "grovekeeper.io/moved"
"""On a PodClique and its pods: the generation hash with which a coherent update last recreated the whole replica."""
ANNOTATION_SUCCEEDS = "grovekeeper.io/succeeds"
"""On a Pod: UID of the pod whose index and node it takes over; until that one is gone it counts nowhere."""
ANNOTATION_BUDGET = "grovekeeper.io/disruption-budget"
"""On a set: "on" or "off" overrides the setting that its PodCliques get PodDisruptionBudgets."""
ANNOTATION_PREEMPTED = "grovekeeper.io/preempted-by"
"""On a Pod that is deleted for a gang of higher priority: whose. It leaves no claim to its node."""
ANNOTATION_TERMINATIONS = "grovekeeper.io/terminations"
"""On a PodGang or PodCliqueScalingGroup: how often and when last its gang was terminated, for the back-off."""
ANNOTATION_GIVEN_UP = "grovekeeper.io/given-up-replicas"
"""On a base PodGang: the replicas of terminated PodCliques whose count was not the template's, until they are back."""
ANNOTATION_HANDED_OVER = "grovekeeper.io/handed-over"
"""On another scheduler's PodGroup: a hash of the spec that we last wanted there."""
ANNOTATION_KAI_SKIP = "kai.scheduler/skip-podgrouper"
ANNOTATION_KAI_GROUP = "pod-group-name"
ANNOTATION_VOLCANO_QUEUE = "scheduling.grove.io/volcano-queue"
ANNOTATIONS_VOLCANO_GROUP = ("scheduling.volcano.sh/group-name", "scheduling.k8s.io/group-name")
ANNOTATION_DISABLE_PROTECTION = "grove.io/disable-managed-resource-protection"
ANNOTATION_RECONCILE = "grove.io/reconcile-trigger"
ANNOTATION_TOPOLOGY = "grove.io/topology-name"
ANNOTATION_MNNVL_GROUP = "grove.io/mnnvl-group"
ANNOTATION_AUTO_MNNVL = "grove.io/auto-mnnvl"
"""The older boolean, on sets only: `enabled` is the group `auto`."""

FINALIZER_COMPUTEDOMAIN = "grove.io/computedomain-finalizer"

GATE = "grove.io/podgang-pending-creation"
INIT_GATE_CONTAINER = "grove-initc"
INIT_GATE_TOKEN_VOLUME = "sa-token-secret-vol"  # noqa: S105 - a volume's name
INIT_GATE_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
INIT_GATE_INFO_VOLUME = "pod-info-vol"
INIT_GATE_INFO_PATH = "/var/grove/pod-info"

SCOPE_ALL_REPLICAS = "AllReplicas"
SCOPE_PER_REPLICA = "PerReplica"
MNNVL_CLAIM = "mnnvl-claim"
"""Name of the NVLink claim within a pod."""
GPU = "nvidia.com/gpu"

SCHEDULER_STOCK = "default-scheduler"
SCHEDULER_OWN = "grovekeeper"
"""Another word for the stock scheduler: our placement pins, kube-scheduler binds."""
SCHEDULER_KAI = "kai-scheduler"
SCHEDULER_VOLCANO = "volcano"
SCHEDULER_UPSTREAM = "podgroup"
"""kube-scheduler's own gangs (feature gate GenericWorkload); a back end's name, not a schedulerName of pods."""
SCHEDULERS = (SCHEDULER_STOCK, SCHEDULER_KAI, SCHEDULER_VOLCANO, SCHEDULER_UPSTREAM)
"""Back ends, by the name that settings enable and cliques choose (docs/decisions/0013-hand-over.md)."""

STARTUP_ANY_ORDER = "CliqueStartupTypeAnyOrder"
STARTUP_IN_ORDER = "CliqueStartupTypeInOrder"
STARTUP_EXPLICIT = "CliqueStartupTypeExplicit"

UPDATE_ROLLING_RECREATE = "RollingRecreate"
UPDATE_ON_DELETE = "OnDelete"
UPDATE_COHERENT = "Coherent"

COPIED_NEVER = (
    "app.kubernetes.io/instance",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
)
"""Keys, or prefixes ending in "/", of GitOps tools' tracking metadata: a child that carries them would be pruned."""

NAME_BUDGET = 45
"""Most characters that set, group and clique names may have together (Grove's rule)."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one spelling of the top kind calls things. The two instances are below."""

    kind: str
    plural: str
    short: str
    label_replica_index: str
    """Label with the set replica's index on cliques, groups, pods and services."""
    env_name: str
    env_index: str
    component_prefix: str
    """Prefix of app.kubernetes.io/component values: pgs-headless-service, pcs-podclique, ..."""
    role_prefix: str
    """Role and RoleBinding are named `<role_prefix><set>`."""
    token_secret_suffix: str
    generation_hash_field: str
    """Status field of PodClique and PodCliqueScalingGroup that names the set's generation hash."""
    progress_field: str
    """Status field with the progress of an update."""
    progress_hash_field: str
    termination_delay: str
    """Default of spec.template.terminationDelay."""


POD_GANG_SET = Dialect(
    kind=PODGANGSET,
    plural="podgangsets",
    short="pgs",
    label_replica_index="grove.io/podgangset-replica-index",
    env_name="GROVE_PGS_NAME",
    env_index="GROVE_PGS_INDEX",
    component_prefix="pgs",
    role_prefix="grove.io:pgs:",
    token_secret_suffix="-initc-sa-token-secret",  # noqa: S106 - a name's suffix
    generation_hash_field="currentPodGangSetGenerationHash",
    progress_field="rollingUpdateProgress",
    progress_hash_field="podGangSetGenerationHash",
    termination_delay="4h0m0s",
)
POD_CLIQUE_SET = Dialect(
    kind=PODCLIQUESET,
    plural="podcliquesets",
    short="pcs",
    label_replica_index="grove.io/podcliqueset-replica-index",
    env_name="GROVE_PCS_NAME",
    env_index="GROVE_PCS_INDEX",
    component_prefix="pcs",
    role_prefix="grove.io:pcs:",
    token_secret_suffix="-ic-sat",  # noqa: S106 - a name's suffix
    generation_hash_field="currentPodCliqueSetGenerationHash",
    progress_field="updateProgress",
    progress_hash_field="podCliqueSetGenerationHash",
    termination_delay="4h0m0s",
)
DIALECTS = {dialect.kind: dialect for dialect in (POD_GANG_SET, POD_CLIQUE_SET)}
REPLICA_INDEX_LABELS = tuple(dialect.label_replica_index for dialect in DIALECTS.values())
