"""compare.py and parse.py find what they are there to find: python -m unittest discover tests/judges."""

import subprocess
import sys
import unittest
from pathlib import Path

import compare
import parse


def python_scrape(encoding):
    program = Path(__file__).with_name("python_reference.py")
    return subprocess.run([sys.executable, program, encoding], stdout=subprocess.PIPE, check=True, text=True).stdout


TEXT, OPENMETRICS = python_scrape("--text"), python_scrape("--openmetrics")


class Compares(unittest.TestCase):
    def differs(self, reference, old, new):
        self.assertIn(old, reference)
        found = list(compare.differences(reference, reference.replace(old, new, 1)))
        self.assertNotEqual(found, [], f"{old!r} became {new!r} unseen")

    def test_a_scrape_equals_itself(self):
        for reference in (TEXT, OPENMETRICS):
            self.assertEqual(list(compare.differences(reference, reference)), [])

    def test_each_kind_of_difference_is_found(self):
        for reference in (TEXT, OPENMETRICS):
            self.differs(reference, "positions_count 8.0", "positions_count 9.0")
            self.differs(reference, "positions_count 8.0", "positions_count 8")
            self.differs(reference, 'le="1.0"', 'le="1"')
            self.differs(reference, 'trading_trade_pnl_dollars_bucket{le="200.0",strategy="SwingMomentum"} 1.0',
                         'trading_trade_pnl_dollars_bucket{le="200.0",strategy="SwingMomentum"} 0.0')
            self.differs(reference, "Available cash", "Cash")
            self.differs(reference, "cash_dollars gauge", "cash_dollars counter" if reference is TEXT else "cash_dollars unknown")
            self.differs(reference, 'side="BUY",', "")
            self.differs(reference, 'strategy="SwingMomentum"', 'strategy="SwingMomentum",order_id="abc123"')
            self.differs(reference, "# HELP trading_ml_psi_drift", "# HELP app_x x\n# TYPE app_x gauge\napp_x 1.0\n# HELP trading_ml_psi_drift")

    def test_what_may_be_there_beyond_python(self):
        more = TEXT.replace('{result="approve"} 1.0', '{result="approve"} 1.0\ntrading_risk_checks_total{result="reject"} 0.0')
        more += "# HELP trading_alerts_total Alerts\n# TYPE trading_alerts_total counter\ntrading_alerts_total 3.0\n"
        self.assertEqual(list(compare.differences(TEXT, more)), [])
        self.differs(TEXT, '{result="approve"} 1.0', '{result="approve"} 1.0\ntrading_risk_checks_total{result="reject"} 1.0')
        self.differs(TEXT, "trading_kill_switch_active 0.0", 'trading_kill_switch_active 0.0\ntrading_kill_switch_active{x="y"} 0.0')

    def test_exemplars_and_the_order_of_labels_do_not_matter(self):
        ours = OPENMETRICS.replace('_bucket{le="2000.0"} 1.0', '_bucket{le="2000.0"} 1.0 # {order_id="abc123"} 1250.0')
        ours = ours.replace('{le="200.0",strategy="SwingMomentum"}', '{strategy="SwingMomentum",le="200.0"}')
        self.assertNotEqual(ours, OPENMETRICS)
        self.assertEqual(list(compare.differences(OPENMETRICS, ours)), [])


class Parses(unittest.TestCase):
    def refuses(self, text, old, new):
        self.assertIn(old, text)
        with self.assertRaises((AssertionError, ValueError)):
            parse.check(text.replace(old, new, 1))

    def test_what_python_exposes(self):
        self.assertEqual(len(parse.check(TEXT)), 18)
        self.assertEqual(len(parse.check(OPENMETRICS)), 17, "one less: the known deviation is left out")

    def test_a_torn_histogram_or_a_series_twice_is_refused(self):
        for text in (TEXT, OPENMETRICS):
            self.refuses(text, "trading_fill_latency_ms_count 1.0", "trading_fill_latency_ms_count 2.0")
            self.refuses(text, '_ms_bucket{le="100.0"} 0.0', '_ms_bucket{le="100.0"} 3.0')
            self.refuses(text, "trading_ml_psi_drift 0.12", "trading_ml_psi_drift 0.12\ntrading_ml_psi_drift 0.12")
        self.refuses(OPENMETRICS, "trading_risk_checks_total{", "trading_risk_checks{")


if __name__ == "__main__":
    unittest.main()
