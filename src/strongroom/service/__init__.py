"""The hall: settings, repositories, sources and the ledger wired together into what people ask for.

Each module is one thing that a face (command line, later web) can ask, and answers with a frozen
report that knows its JSON and its exit status. Nothing here prints, parses arguments or knows how
bytes are stored.
"""
