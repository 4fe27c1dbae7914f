"""The way to the engine's HTTP interface: a socket file in a private folder, with a key nobody else knows."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class EngineDoor:
    """Asks one loaded engine what its Python interface does not offer."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def post(self, address: str, body: Mapping[str, Any], *, timeout_s: float = 30.0) -> bytes | None:
        """Return the body of the answer, None where there was none with status 200."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection = _Connection(self._path, timeout_s)
        try:
            connection.request("POST", address, json.dumps(body), headers)
            response = connection.getresponse()
            return response.read() if response.status == http.client.OK else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP by a socket file."""

    def __init__(self, door: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._door = door
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Open the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(str(self._door))
