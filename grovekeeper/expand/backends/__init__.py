"""Other schedulers: what a PodGang becomes there, and what its pods must carry. Pure; one module a back end."""
