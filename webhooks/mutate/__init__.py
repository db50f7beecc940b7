"""One module per kind: defaulting and injection as RFC 6902 operations."""
