"""Measurements of the bindings, each in a process of its own."""
