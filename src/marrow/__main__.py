"""`python -m marrow` is `marrow`."""

import sys

from marrow.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
