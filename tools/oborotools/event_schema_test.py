import unittest

from . import event_schema
from .cache import ToolError


class EventSchemaTest(unittest.TestCase):

    def test_kinds_in_order(self):
        kinds = event_schema.kinds()
        self.assertEqual(kinds[:3], ("started", "armed", "reset"))
        self.assertIn("refused", kinds)
        self.assertEqual(len(kinds), len(set(kinds)))

    def test_object_types_in_order(self):
        types = event_schema.object_types()
        self.assertEqual(types[:2], ("file", "process"))
        self.assertNotIn("none", types)
        self.assertNotIn("count", types)

    def test_an_entry_on_two_lines_is_said(self):
        with self.assertRaisesRegex(ToolError, "line 2"):
            event_schema.read('KIND(a, A, kept, "doc")\nFIELD(x, Text,\n  "x", 0, "doc")\n')

    def test_tables_go_between_their_markers(self):
        text = "a\n<!-- schema.def: t -->\nold\n<!-- end -->\nb\n"
        self.assertEqual(event_schema.filled(text, {"schema.def: t": ["new"]}), text.replace("old", "new"))
        with self.assertRaises(ToolError):
            event_schema.filled("a\n", {"t": []})

    def test_ring_counters_follow_each_other(self):
        rows = event_schema.ring_counters("struct RingCounters {\n  std::atomic<uint64_t> a{0};\n"
                                          "  std::atomic<uint64_t> b{0};  // what it is\n};\n")
        self.assertEqual(rows, ["| 128 | u64 `a` |", "| 136 | u64 `b`: what it is |"])
        with self.assertRaises(ToolError):
            event_schema.ring_counters("struct RingCounters {\n  int a;\n};\n")

    def test_documentation_is_up_to_date(self):
        self.assertTrue(event_schema.document(check=True), "`tools/dev docs` brings docs/formats.md up to date")


if __name__ == "__main__":
    unittest.main()
