"""Entry point of the page: `streamlit run dashboard/app.py`, from any folder."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

# Streamlit adds this file's folder to the path, not its parent, which holds the package `dashboard`.
HERE = Path(__file__).resolve().parent
spec = find_spec("dashboard")
if spec is None or spec.origin is None or Path(spec.origin).resolve().parent != HERE:
    sys.path.insert(0, str(HERE.parent))

from dashboard.views import page  # noqa: E402 - only now can it be found

page.main()
