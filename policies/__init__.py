"""The policy engine: rules in CEL with a built-in bundle. Pure."""

if __name__ != "grovekeeper.policies":
    raise ImportError("import grovekeeper.policies; the bare name belongs to another distribution")
