"""Train a feedforward network: `python train.py model=mlp optimizer=adam`; `--help` shows every choice.

The settings stand in configs/. Hydra composes them (its shell completion looks for the words @hydra.main in this file),
dnnlab.config types them, and dnnlab.app trains.
"""

from dnnlab.cli import train

if __name__ == "__main__":
    train()
