"""Files that ship with the package: the Bicep template, and the profile that ``setup`` writes."""
