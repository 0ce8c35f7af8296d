"""The whole way for real: a cluster, the chart, notifications, and the mails and inbox they reach.

`python -m hack.demo --help` is the command line. Everything is done by commands that it shows, so
that whoever watches can go on alone.
"""
