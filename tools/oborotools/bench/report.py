"""The table of bench/run trace and kvm."""


class Report:
    def __init__(self):
        self.rows = []

    def add(self, section, what, limit, value, low=None, high=None, paper=None, unit="", empty=None, **more):
        verdict = None if limit is None else "PASS" if value <= limit else "over"
        self.rows.append({"section": section, "what": what, "limit": limit, "value": value, "low": low, "high": high,
                          "empty_plugin": empty, "paper": paper, "unit": unit, "verdict": verdict, **more})

    def print(self):
        def number(value, unit, digits=3):
            if value is None:
                return ""
            return f"{value:.{digits}f}" if not unit else f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
        section = None
        for row in self.rows:
            if row["section"] != section:
                section = row["section"]
                print(f"\n{section}\n  {'':38} {'at most':>8} {'measured':>9} {'middle half':>17} {'empty':>6} {'paper':>6}")
            unit = row["unit"]
            middle = "" if row["low"] is None else f"{number(row['low'], unit)} .. {number(row['high'], unit)}"
            print(f"  {row['what']:38} {number(row['limit'], unit, 2):>8} {number(row['value'], unit):>9} {middle:>17} "
                  f"{number(row['empty_plugin'], ''):>6} {number(row['paper'], '', 2):>6}  {row['verdict'] or ''}".rstrip())
        over = [row for row in self.rows if row["verdict"] == "over"]
        print(f"\n{sum(row['verdict'] == 'PASS' for row in self.rows)} within the limit, {len(over)} over")
        return over
