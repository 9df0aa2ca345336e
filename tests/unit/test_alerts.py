"""The alert rules use metrics that a worker has, and the page of the alerts says what to do about each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from generators import metrics
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
GROUPS: Any = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text("utf-8"))["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
PAGE = (ROOT / "docs" / "operations" / "alerts.md").read_text("utf-8")
#: The samples that a worker writes, with their labels.
SAMPLES = {
    sample.name: {*sample.labels}
    for family in text_string_to_metric_families(metrics.page())
    for sample in family.samples
}
#: Prometheus makes this one itself.
SAMPLES["up"] = set()
#: Labels that Prometheus adds to each sample.
TARGET_LABELS = {"job", "instance"}
#: The functions and keywords of PromQL in the rules.
PROMQL = {"min", "max", "sum", "by", "and", "absent", "deriv", "increase", "rate", "histogram_quantile"}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_uses_metrics_and_labels_that_exist(name: str) -> None:
    """A name that no metric has would never fire."""
    text = re.sub(r'"[^"]*"|\[\w+\]|\b[\d.]+(e\d+)?\b', " ", RULES[name]["expr"])
    names = {*re.findall(r"[A-Za-z_]\w*", text)} - PROMQL
    used = names & SAMPLES.keys()

    assert used
    assert names - used <= TARGET_LABELS | {label for each in used for label in SAMPLES[each]}


@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_complete(name: str) -> None:
    """It has a severity and a text, and the labels in its text are in its result."""
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description"} == rule["annotations"].keys()
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in labels.split(", ")}
    shown = {*re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))}
    assert shown <= (grouped or TARGET_LABELS)


def test_the_page_says_what_to_do_about_each_alert() -> None:
    """In the order of the rules, and about no other."""
    assert [*RULES] == re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)
