"""Passes over a graph: gradient, precision, layout, memory."""
