"""`python -m dx.cli`, for where there is no launcher."""

import sys

from dx.cli import main

if __name__ == "__main__":
    sys.exit(main())
