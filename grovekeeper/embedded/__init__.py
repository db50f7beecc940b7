"""A small cluster in one process for demos and fast tests, verified by the contract suite."""
