"""How fast it is: figures of the real operator, each beside a peer that shows the limit.

`python -m bench` runs them (docs/performance.md explains each one); `python -m bench.soak` runs a
steady load with faults for a while and says whether anything grows.
"""
