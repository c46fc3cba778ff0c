"""Metrics: each worker counts its own requests, and any worker can report the sum of all workers.

A request appends one item to a list. A thread in each worker adds up the list once a second and writes its totals to a
file that the other workers read. prometheus_client renders the metrics.
"""
