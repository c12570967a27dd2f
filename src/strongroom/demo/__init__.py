"""The reference application: a Training Management System to capture, destroy, recover and prove.

`build_application` makes a whole one (database, uploaded files, code) from a seed; `story` tells
what Strongroom does for it. What is built here is data for demonstrations, tests and benchmarks:
no other package depends on it, and nothing here decides how something is captured or proven.
"""

from strongroom.demo.application import DemoApplication, build_application

__all__ = ["DemoApplication", "build_application"]
