"""The fault corpus: ways in which backups lie, made against real parts, and their healthy twins.

`make faults` runs all of it and writes docs/DETECTION.md; tests/e2e/test_fault_corpus runs it row
by row. A row is a `model.Fault`: to add one, write what it spoils and name the `model.Way` by which
it is looked for. `rows` puts the groups together and says what is not detected yet.
"""
