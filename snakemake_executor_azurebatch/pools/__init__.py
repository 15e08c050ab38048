"""Pools: what is asked for, and making sure that it is there."""
