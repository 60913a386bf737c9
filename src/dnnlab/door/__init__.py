"""The command line: Hydra composes here, and nowhere else. Nothing in this folder imports torch before a run begins."""
