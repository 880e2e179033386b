"""Runners of a sweep's trials: Ray Tune, or this process."""

INLINE = "inline"
"""The address that stands for this process, without Ray."""
