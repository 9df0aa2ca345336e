"""Messages for a registry URL that answers, but without the Confluent API: usually its path is missing."""

from __future__ import annotations

from urllib.parse import urlsplit

#: Path of the Confluent API in Apicurio Registry.
APICURIO_PATH = "/apis/ccompat/v7"


def problem(url: str, status: int) -> str:
    """Return what is wrong with a URL that answers with this HTTP status."""
    return f"{url} answers with status {status}: there is no Confluent API at this URL"


def remedy(url: str, *, has_apicurio: bool = False) -> str:
    """Return the setting to change.

    Args:
        url: of the setting: one URL, or several, separated by commas.
        has_apicurio: the Confluent API of Apicurio Registry answers below the URL.
    """
    urls = _all(url)
    if has_apicurio:
        return f"STREAMAPP_SCHEMA_REGISTRY_URL={','.join(map(_with_path, urls))}"
    example = urlsplit(urls[0])._replace(path=APICURIO_PATH, query="", fragment="").geturl()
    wanted = "URL" if len(urls) == 1 else "URLs, each"
    return (
        f"STREAMAPP_SCHEMA_REGISTRY_URL=<{wanted} with the path of the Confluent API>, for Apicurio Registry {example};"
        f" check it with: curl {urls[0]}/subjects"
    )


def first(url: str) -> str:
    """Return the first of the URLs of the setting, for a command that has one URL."""
    return _all(url)[0]


def _all(url: str) -> list[str]:
    return [each.rstrip("/") for each in url.split(",")]


def _with_path(url: str) -> str:
    return url if url.endswith(APICURIO_PATH) else f"{url}{APICURIO_PATH}"
