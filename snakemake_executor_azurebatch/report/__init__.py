"""The report of a run: one HTML page, made of what its tasks have left in ``tasks.jsonl``."""
