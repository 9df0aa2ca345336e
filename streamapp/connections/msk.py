"""Tokens for the mechanism AWS_MSK_IAM, which Amazon's library signs with the credentials of AWS."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from streamapp.connections.tokens import Token, TokenUnavailable
from streamapp.errors import SettingsError

_HOST = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com")
_MILLIS = 1000


def of_aws(servers: str) -> Callable[[], Token]:
    """Return a function that signs a token for the region of these brokers.

    Raises:
        SettingsError: the library is not installed, or the region is not known.
    """
    try:
        signer: Any = import_module("aws_msk_iam_sasl_signer")
    except ImportError:
        raise SettingsError(
            "STREAMAPP_KAFKA_SASL_MECHANISM=AWS_MSK_IAM needs the Python package aws-msk-iam-sasl-signer-python, which"
            " the extra 'msk' installs: pip install 'streamapp-pipeline[msk]'"
        ) from None
    region = region_of(servers) or _configured_region()
    if not region:
        raise SettingsError(
            f"The region of AWS is not known: STREAMAPP_KAFKA_BOOTSTRAP_SERVERS is {servers}, which names none."
            " Set AWS_REGION. Example: AWS_REGION=eu-central-1"
        )

    def fetch() -> Token:
        try:
            value, expires_at = signer.MSKAuthTokenProvider.generate_auth_token(region)
        except Exception as exc:  # noqa: BLE001 - the SDK of AWS has no common base of its errors
            message = f"AWS gives no token for {region}: {type(exc).__name__}. Check the credentials of AWS"
            raise TokenUnavailable(message) from None
        return Token(value, expires_at / _MILLIS)

    return fetch


def region_of(servers: str) -> str | None:
    """Return the region in the host name of a broker of MSK."""
    found = _HOST.search(servers)
    return found[1] if found else None


def _configured_region() -> str | None:
    session: Any = import_module("botocore.session").Session()
    return session.get_config_variable("region")
