"""Other processes, on a cluster too, import the tasks by their name alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
