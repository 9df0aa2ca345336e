#!/usr/local/bin/python -IS
"""Exit with 0 if the process of this container answers 200 on /readyz; Docker runs it as the health check.

Without the site packages Python starts in 20 ms.
"""

import os
import sys
from http.client import HTTPConnection

OK = 200
SECONDS = 4


def port() -> int:
    """Return the port of what this image serves."""
    if os.environ.get("STREAMAPP_IMAGE") == "dashboard":
        return int(os.environ.get("STREAMAPP_DASHBOARD_PORT") or 8501)
    return int(os.environ.get("STREAMAPP_WEB_PORT") or 6066)


def main() -> None:
    """Ask, print the answer, and exit."""
    connection = HTTPConnection("127.0.0.1", port(), timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))
    except OSError as exc:
        sys.exit(f"No answer on port {port()}: {exc}")
    sys.exit(answer.status != OK)


if __name__ == "__main__":
    main()
