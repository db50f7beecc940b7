"""The reduced OpenAPI document of Kubernetes; data only."""
