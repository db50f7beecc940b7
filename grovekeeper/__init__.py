"""Grovekeeper runs gang-scheduled AI inference on Kubernetes from Git."""

__version__ = "0.1.0"
