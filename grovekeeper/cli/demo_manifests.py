"""The manifests of the demo: the four use cases of gitops-examples/plain, kept equal by a test."""

CHAT = """\
# One model over several nodes: prefill and decode each have a leader and workers, a router in front.
apiVersion: grove.io/v1alpha1
kind: PodGangSet
metadata:
  name: chat
  namespace: default
spec:
  replicas: 1
  template:
    cliqueStartupType: CliqueStartupTypeExplicit
    topologyConstraint:
      topologyName: datacenter
      pack: {required: block, preferred: rack}
    cliques:
      - name: router
        spec:
          roleName: router
          replicas: 2
          minAvailable: 1
          startsAfter: [prefill-leader, decode-leader]
          podSpec:
            containers:
              - name: router
                image: registry.example.com/router:2.1.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
      - name: prefill-leader
        spec:
          roleName: prefill-leader
          replicas: 1
          podSpec:
            containers:
              - name: prefill-leader
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "4"}
      - name: prefill-worker
        spec:
          roleName: prefill-worker
          replicas: 2
          startsAfter: [prefill-leader]
          podSpec:
            containers:
              - name: prefill-worker
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "4"}
      - name: decode-leader
        spec:
          roleName: decode-leader
          replicas: 1
          podSpec:
            containers:
              - name: decode-leader
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "4"}
      - name: decode-worker
        spec:
          roleName: decode-worker
          replicas: 1
          startsAfter: [decode-leader]
          podSpec:
            containers:
              - name: decode-worker
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "4"}
    podCliqueScalingGroups:
      - name: prefill
        cliqueNames: [prefill-leader, prefill-worker]
        replicas: 2
        minAvailable: 1
        topologyConstraint:
          pack: {required: rack}
      - name: decode
        cliqueNames: [decode-leader, decode-worker]
        replicas: 1
        topologyConstraint:
          pack: {required: rack}
"""
SEARCH = """\
# Prefill and decode of a smaller model, each pod on one node, packed into one block.
apiVersion: grove.io/v1alpha1
kind: PodGangSet
metadata:
  name: search
  namespace: default
spec:
  replicas: 1
  template:
    cliqueStartupType: CliqueStartupTypeExplicit
    topologyConstraint:
      topologyName: datacenter
      pack: {required: block}
    cliques:
      - name: prefill
        spec:
          roleName: prefill
          replicas: 3
          minAvailable: 2
          podSpec:
            containers:
              - name: prefill
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "2"}
      - name: decode
        spec:
          roleName: decode
          replicas: 2
          minAvailable: 1
          startsAfter: [prefill]
          podSpec:
            containers:
              - name: decode
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "2"}
"""
AGENTS = """\
# A pipeline of models, started one after the other: planner, coder, reviewer, then the gateway.
apiVersion: grove.io/v1alpha1
kind: PodGangSet
metadata:
  name: agents
  namespace: default
spec:
  replicas: 1
  template:
    cliqueStartupType: CliqueStartupTypeInOrder
    cliques:
      - name: planner
        spec:
          roleName: planner
          replicas: 1
          podSpec:
            containers:
              - name: planner
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "1"}
      - name: coder
        spec:
          roleName: coder
          replicas: 2
          minAvailable: 1
          podSpec:
            containers:
              - name: coder
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "2"}
      - name: reviewer
        spec:
          roleName: reviewer
          replicas: 1
          podSpec:
            containers:
              - name: reviewer
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "1"}
      - name: gateway
        spec:
          roleName: gateway
          replicas: 1
          podSpec:
            containers:
              - name: gateway
                image: registry.example.com/router:2.1.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
"""
EMBED = """\
# The plain case: one clique of equal pods; three must be up together, the fourth is best effort.
apiVersion: grove.io/v1alpha1
kind: PodGangSet
metadata:
  name: embed
  namespace: default
spec:
  replicas: 1
  template:
    cliqueStartupType: CliqueStartupTypeAnyOrder
    cliques:
      - name: server
        spec:
          roleName: server
          replicas: 4
          minAvailable: 3
          podSpec:
            containers:
              - name: server
                image: registry.example.com/llm-server:1.4.0
                resources:
                  requests: {cpu: "1", memory: 2Gi}
                  limits: {nvidia.com/gpu: "1"}
"""
TOPOLOGY = """\
apiVersion: grove.io/v1alpha1
kind: ClusterTopologyBinding
metadata:
  name: datacenter
spec:
  levels:
    - {domain: zone, key: kubernetes.io/zone}
    - {domain: block, key: kubernetes.io/block}
    - {domain: rack, key: kubernetes.io/rack}
    - {domain: host, key: kubernetes.io/hostname}
"""

FIRST = {
    "chat.yaml": CHAT,
    "search.yaml": SEARCH,
    "agents.yaml": AGENTS,
    "embed.yaml": EMBED,
    "topology.yaml": TOPOLOGY,
}
SECOND = {
    "embed.yaml": EMBED.replace("  replicas: 1\n  template", "  replicas: 3\n  template"),
    "chat.yaml": CHAT.replace("llm-server:1.4.0", "llm-server:1.5.0"),
}
