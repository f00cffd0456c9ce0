"""``python -m no_time_to_train`` is ``nttt``."""

import sys

from no_time_to_train.commands import main

sys.exit(main())
