"""A dispatcher that watches and workers that bring the world one step nearer to what Git says."""

if __name__ != "grovekeeper.reconciler":
    raise ImportError("import grovekeeper.reconciler; the bare name belongs to another distribution")
