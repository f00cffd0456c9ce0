"""``python -m no_time_to_train`` is ``nttt``."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line of this process; Ctrl-C while its modules are loaded ends it like any other time."""
    try:
        from no_time_to_train import commands
        from no_time_to_train.commands.collector import seldom_while_loading

        with seldom_while_loading():
            return commands.main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    finally:  # all is said: a further signal ends the process without a word
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
