"""``python -m flows`` is the command ``flows``."""

import sys

from flows._cli import main

if __name__ == "__main__":
    sys.exit(main())
