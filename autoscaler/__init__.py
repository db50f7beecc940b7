"""HPA and KEDA objects and the scale subresources that they drive."""

if __name__ != "grovekeeper.autoscaler":
    raise ImportError("import grovekeeper.autoscaler; the bare name belongs to another distribution")
