"""One module per kind: a new and an old object in, field errors out. Pure."""
