"""`python -m memos`."""

import sys

from memos.cli import main

sys.exit(main())
