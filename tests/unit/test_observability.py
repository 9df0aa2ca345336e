"""The board of Grafana and the configuration of Prometheus use what a worker has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from generators import metrics
from prometheus_client.parser import text_string_to_metric_families

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "streamapp.json").read_text("utf-8"))
QUERIES = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel["targets"]]
#: The names of samples that a worker writes.
SAMPLES = {sample.name for family in text_string_to_metric_families(metrics.page()) for sample in family.samples}


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title} {n}" for n, (title, _) in enumerate(QUERIES)])
def test_each_panel_asks_for_metrics_that_exist(title: str, query: str) -> None:
    """A query for a metric that no worker has would show an empty panel."""
    names = set(re.findall(r"\b(?:streamapp|process)_\w+", query))

    assert names, title
    assert names <= SAMPLES


def test_board_uses_the_provisioned_source() -> None:
    """Each query goes to the data source that Grafana is given."""
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8")
    )["datasources"]
    uids = {target["datasource"]["uid"] for panel in BOARD["panels"] for target in panel["targets"]}

    assert {source["uid"]} == uids


def test_panels_do_not_overlap() -> None:
    """Each field of the grid has one panel."""
    fields = [
        (x, y)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(fields) == len(set(fields))
    assert max(x for x, _ in fields) < 24


def test_prometheus_scrapes_every_worker_in_the_job_of_the_rules() -> None:
    """All containers of the service are targets, in the job `streamapp`."""
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]

    assert "streamapp" == job["job_name"]
    assert [{"worker"}, 6066] == [set(job["dns_sd_configs"][0]["names"]), job["dns_sd_configs"][0]["port"]]
