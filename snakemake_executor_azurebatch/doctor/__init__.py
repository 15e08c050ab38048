"""Looks whether a run can work, without running anything: one finding for each thing, with what mends it."""
