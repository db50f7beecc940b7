"""What the shells share and none owns: serving, queue, settings, logs, clock."""
