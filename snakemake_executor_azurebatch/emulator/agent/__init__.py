"""The node agent: really runs tasks as child processes, in the directory layout that Azure Batch documents."""
