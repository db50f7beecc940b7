"""Devices and drivers that no machine of the tests has."""
