"""The whole way for real: a cluster, the chart, notifications, and mails that arrive.

`python -m hack.demo --help` is the command line. Everything is done by commands that it shows, so
that whoever watches can go on alone.
"""
