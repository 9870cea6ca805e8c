"""Runs guest cases: boots a guest under oboro for each and compares what was reported with what the case expects.

options -> selection -> preparation (what is booted) -> run (one case) with host_script, namespaces, console, stuck (or shared: several cases
in one guest) -> expectations -> board and summary. nested runs all of it once more inside of a host that has KVM."""
