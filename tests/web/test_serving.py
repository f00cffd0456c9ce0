from __future__ import annotations

import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.web.serving import listen


def test_a_free_port_is_found_and_a_used_one_is_said() -> None:
    with listen(None) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1" and port > 0
        with pytest.raises(InputError, match=f"port={port} cannot be used"):
            listen(port)
