"""Runs the command line: ``python -m notifications_operator``."""

import sys

from .cli import main

sys.exit(main())
