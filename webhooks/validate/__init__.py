"""One module per kind: admission decisions."""
