"""Trackers: tables that persist between iterations; read anywhere by name, written in one place."""

from pojax.trackers.means import running_mean
from pojax.trackers.success_rates import single_stream
from pojax.trackers.tracker import Tracker as Tracker

__all__ = ["running_mean", "single_stream"]
