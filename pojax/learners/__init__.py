"""Learners: one file per family, what they share in updates.py, their state in state.py."""

from pojax.learners.learner import Learner

__all__ = ["Learner"]
