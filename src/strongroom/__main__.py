"""`python -m strongroom`: the same as the console script."""

import sys

from strongroom.cli.main import main

sys.exit(main())
