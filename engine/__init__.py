"""Overnight training of object detectors from TOML recipes."""

__version__ = "0.1.0"
