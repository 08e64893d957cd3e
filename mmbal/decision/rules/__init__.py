"""The decision rules, one file each. A file here registers one rule under its own name."""
