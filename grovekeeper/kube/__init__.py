"""The only room with a telephone to the API server: client, watches, caches, leases."""
