"""What the C headers say, as data: one module a library, which `generate.py` makes from `recipe.toml`."""
