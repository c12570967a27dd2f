"""The command line: parse, call `service`, render. One module per command or small family.

Nothing heavy is imported before a command runs, so that `--help` answers at once. With `--json`
standard output holds exactly one JSON document, on failure too; all else goes to standard error.
"""
