"""Reads scrapes with prometheus_client's parsers, as an independent judge of their form.

    parse.py SCRAPE…        text 0.0.4 or OpenMetrics, told apart by the final `# EOF`
"""

import sys
from collections import defaultdict
from pathlib import Path

import scrape


def check_histogram(name, samples):
    """The text parser does not look inside a histogram: buckets never fall, and the last one is the count."""
    buckets, counts = defaultdict(list), {}
    for (sample, labels), value in samples.items():
        others = tuple(pair for pair in labels if pair[0] != "le")
        if sample == f"{name}_bucket":
            buckets[others].append((float(dict(labels)["le"]), value))
        elif sample == f"{name}_count":
            counts[others] = value
    assert buckets.keys() == counts.keys(), f"{name}: _bucket and _count of different label sets"
    for labels, found in buckets.items():
        values = [value for _, value in sorted(found)]
        assert values == sorted(values), f"{name}{labels}: a bucket is below the one before it"
        assert max(found)[0] == float("inf"), f"{name}{labels}: no +Inf bucket"
        assert values[-1] == counts[labels], f"{name}{labels}: the +Inf bucket is not the count"


def check(text):
    found = scrape.families(text)
    assert found, "no family at all"
    for name, (kind, help_text, _, samples) in found.items():
        assert kind not in ("unknown", "untyped"), f"{name}: no type"
        assert help_text or not name.startswith("trading_"), f"{name}: no help"
        if kind == "histogram":
            check_histogram(name, samples)
    return found


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for path in sys.argv[1:]:
        text = Path(path).read_text(encoding="utf-8")
        found = check(text)
        series = sum(len(samples) for *_, samples in found.values())
        print(f"{path}: {'OpenMetrics' if scrape.is_openmetrics(text) else 'text 0.0.4'}, "
              f"{len(found)} families, {series} samples")


if __name__ == "__main__":
    main()
