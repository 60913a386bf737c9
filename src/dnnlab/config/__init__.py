"""The typed settings: what may be asked of a run. No torch, no Hydra."""
