"""Tests of the reconciler room; `world` is the small cluster that they run in."""
