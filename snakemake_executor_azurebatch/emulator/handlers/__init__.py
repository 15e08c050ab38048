"""One function per operation of the service."""
