"""What is tested; scripts/torturing, which does to runs what happens to them, can be imported."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
