"""What the evidence amounts to: pure functions of what was observed, what was promised, and now.

`judgement` makes one value, `Report`; `document` puts it into words once; `html`, `pdf` and `text`
only lay those words out, so that they cannot disagree. Reads no file, no clock and no network.
"""
