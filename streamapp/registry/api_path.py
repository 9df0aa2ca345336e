"""Messages for a registry URL that answers, but without the Confluent API: usually its path is missing."""

from __future__ import annotations

from urllib.parse import urlsplit

#: Path of the Confluent API in Apicurio Registry.
APICURIO_PATH = "/apis/ccompat/v7"


def problem(url: str, status: int) -> str:
    """Return what is wrong with a URL that answers with this HTTP status."""
    return f"{url} answers with status {status}: there is no Confluent API at this URL"


def remedy(url: str, *, has_apicurio: bool = False) -> str:
    """Return the setting to change; `has_apicurio`: the Confluent API of Apicurio Registry answers below the URL."""
    if has_apicurio:
        return f"STREAMAPP_SCHEMA_REGISTRY_URL={url}{APICURIO_PATH}"
    example = urlsplit(url)._replace(path=APICURIO_PATH, query="", fragment="").geturl()
    return (
        f"STREAMAPP_SCHEMA_REGISTRY_URL=<URL with the path of the Confluent API>, for Apicurio Registry {example};"
        f" check it with: curl {url}/subjects"
    )
