"""Oboro under faults: behind tests/faults/run, whose README says what is done and what must hold."""
