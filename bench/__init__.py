"""Benchmarks against peers, side by side in one run; not shipped in the package.

`bench.run` is the entry. Workloads come from a seed, contenders take turns, results are verified,
and misses stay in the table. What it does not do: judge a single run, or compare across runs.
"""
