"""Methods: one file each; see docs/own-method.md."""
