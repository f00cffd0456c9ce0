"""What lets other programs label with a memory file: one module per program.

Each needs the extra of its name, and nothing below this layer knows of it.
"""

from no_time_to_train.models.threads import prepare_threads

prepare_threads()  # before torch is imported: other programs import these modules directly
