"""From nothing to ready on Azure, and back: names, the Bicep template, what ``az`` is asked for, a profile."""
