"""Runs on nodes: stages files in, runs the command, stages files out. Standard library only."""
