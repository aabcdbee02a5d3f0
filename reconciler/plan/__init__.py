"""Desired and live state at an instant become a plan. Pure: no I/O, no clock, no randomness."""
