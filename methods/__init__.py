"""Methods: one file each; see CONTRIBUTING.md."""
