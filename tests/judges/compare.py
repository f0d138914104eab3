"""Compares a scrape of ours with the one of Python's prometheus_client, family by family, sample by sample.

    compare.py REFERENCE SCRAPE

Both text 0.0.4 or both OpenMetrics. Allowed beyond the reference: families that Python's list does not have
(trading_*, process_*, target_info), label sets at 0 that Python has not created, another order of samples and labels.
"""

import sys
from pathlib import Path

import scrape


def differences(reference, ours):
    expected, found = scrape.families(reference), scrape.families(ours)
    for name, (kind, help_text, unit, samples) in expected.items():
        if name not in found:
            yield f"{name}: missing"
            continue
        our_kind, our_help, our_unit, our_samples = found[name]
        for what, wanted, got in (("type", kind, our_kind), ("help", help_text, our_help), ("unit", unit, our_unit)):
            if wanted != got:
                yield f"{name}: {what} is {got!r}, Python has {wanted!r}"
        for key, value in samples.items():
            if key not in our_samples:
                yield f"{name}: no sample {key}"
            elif our_samples[key] != value:
                yield f"{name}: {key} is {our_samples[key]}, Python has {value}"
        yield from (f"{name}: {problem}" for problem in unexpected(samples, our_samples))
    for name in found.keys() - expected.keys():
        if not name.startswith(("trading_", "process_")) and name not in ("target", "target_info"):
            yield f"{name}: a family that neither Python nor the catalogue has"
    if (order := [name for name in found if name in expected]) != list(expected):
        yield f"families are in another order: {order}"
    # What parsers hide: digits, quoting, the spelling of bounds, and the family that the OpenMetrics parser refuses.
    our_lines = set(scrape.lines(ours))
    for line in scrape.lines(reference):
        if line not in our_lines:
            yield f"no line {line}"


def unexpected(samples, our_samples):
    """Samples beyond Python's that are more than a label set at 0."""
    def label_set(key):
        return frozenset(pair for pair in key[1] if pair[0] != "le")

    known = {label_set(key) for key in samples}
    shapes = {(key[0], tuple(label for label, _ in key[1])) for key in samples}
    for key in our_samples.keys() - samples.keys():
        if (key[0], tuple(label for label, _ in key[1])) not in shapes:
            yield f"{key} has other labels or another name than Python's samples"
        elif label_set(key) in known:
            yield f"{key} is not one of Python's samples of that label set"
        elif our_samples[key] != 0:
            yield f"{key} is {our_samples[key]}, but was never recorded"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    reference, ours = (Path(path).read_text(encoding="utf-8") for path in sys.argv[1:])
    if scrape.is_openmetrics(reference) != scrape.is_openmetrics(ours):
        sys.exit("one of the two is OpenMetrics, the other is not")
    found = list(differences(reference, ours))
    print("\n".join(found) or f"equal: {len(scrape.lines(reference))} lines of Python's stand in our "
          f"{len(scrape.lines(ours))}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
