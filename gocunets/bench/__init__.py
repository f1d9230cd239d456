"""Measurements beside a peer in one run: `gocunets bench ...`."""
