"""Measures the cost of tracing, of the KVM engine and of hidden services (bench/README.md).

options -> trace, kvm or hide. A machine is a guest that is measured, guests are those that take turns, samples are what came of it,
tables say what is measured and its limits, report prints.
"""
