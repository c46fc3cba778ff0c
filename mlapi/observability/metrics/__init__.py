"""What is measured: each worker counts for itself, any worker answers for all.

A request costs one append to a list. A thread of each worker sums the list up, a second's requests in one pass, and
lays its totals where the other workers read them; prometheus_client writes them out.
"""
