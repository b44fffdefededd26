"""`python -m maquette`: the command line."""

import sys

from maquette.app.cli.main import main

sys.exit(main())
