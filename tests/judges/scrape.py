"""A scrape as prometheus_client's own parsers read it; shared by compare.py and parse.py."""

import re
from collections import Counter

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

# Exposes no _sum, since observations may be negative; the OpenMetrics parser insists on _sum beside _count.
KNOWN_DEVIATION = "trading_trade_pnl_dollars"

SAMPLE = re.compile(r'^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>(?:[^"}]|"(?:\\.|[^"\\])*")*)\})? (?P<value>\S+)(?: # .*)?$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:\\.|[^"\\])*)"')


def is_openmetrics(text):
    return text.endswith("# EOF\n")


def families(text):
    """Family name to (type, help, unit, {(sample name, sorted labels): value}), in the order of the scrape."""
    # Looked for here, since the OpenMetrics parser passes over a series that occurs twice in a row.
    series = Counter((name, labels) for name, labels, _ in lines(text) if not name.startswith("#"))
    assert max(series.values(), default=1) == 1, f"a series occurs twice: {series.most_common(1)[0][0]}"
    openmetrics = is_openmetrics(text)
    if openmetrics:
        text = without_family(text, KNOWN_DEVIATION)
    found = {}
    for family in (read_openmetrics if openmetrics else read_text)(text):
        assert family.name not in found, f"family {family.name} occurs twice"
        samples = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in family.samples}
        found[family.name] = (family.type, family.documentation, family.unit, samples)
    return found


def lines(text):
    """Each line as (kind or sample name, sorted labels as written, the rest as written), exemplars taken off."""
    found = []
    for line in text.splitlines():
        if line.startswith("#"):
            found.append((line, (), ""))
            continue
        match = SAMPLE.match(line)
        assert match, f"not a sample line: {line}"
        found.append((match["name"], tuple(sorted(LABEL.findall(match["labels"] or ""))), match["value"]))
    return found


def without_family(text, name):
    of_family = re.compile(rf"(# (HELP|TYPE|UNIT) )?{name}(_bucket|_count|_sum)?[ {{]")
    return "".join(line for line in text.splitlines(keepends=True) if not of_family.match(line))
