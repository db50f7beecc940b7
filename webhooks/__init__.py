"""Admission over TLS: decode, call the pure core, encode. Never calls the API server or Redis while answering."""

if __name__ != "grovekeeper.webhooks":
    raise ImportError("import grovekeeper.webhooks; the bare name belongs to another distribution")
