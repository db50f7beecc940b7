"""Which nodes a gang could take, all or nothing, and why not. Pure; no clock, no chance."""
