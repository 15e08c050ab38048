"""Moving a workflow's files between the workdir and its blob container."""
