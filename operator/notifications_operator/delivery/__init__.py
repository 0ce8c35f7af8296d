"""The delivery engine: plans whom a Notification reaches, sends it, and records what became of it.

Theory of operation
===================

A *delivery* is one recipient of one processor. All deliveries of a Notification are its *ledger*,
which is stored in the cluster and nowhere else: in the Notification's status while they are few, in
NotificationDeliverySlices (*slices*) when they are many. A process that is killed at any moment
therefore loses nothing, and the next one goes on from what is stored.

Invariants
----------

1. A delivery is claimed in the cluster before the first byte of it is sent.
2. One runner at a time works on a Notification, in the process that leads. It alone writes the
   status and the slices, each at the version that it read.
3. Each turn derives what is wanted from what is stored. A write that fails changes nothing here
   either: the turn is done again from what is stored then.
4. Each claim gets an outcome, whatever a processor does, and each outcome is recorded, by this
   process or by the doubt of the next one.
5. What is sent again is the same delivery: it has the identity of the first attempt, by which the
   other side can tell a copy.

A turn
------

`runners.runner.Runner` takes a turn whenever something has changed or falls due:

1. It looks at the newest version of the object. One that is deleted, or that a newer release wrote
   (`storage.newer_format`), is left alone.
2. Claims of its own that are stored and not begun yet are begun. After an edit they are taken back
   instead.
3. Outcomes that have come in are recorded in the ledger (`runners.attempts`, `ledger.rows`).
4. Claims of another process, or of an earlier epoch, are settled as doubts.
5. The Notification is planned (`planning.planner`): edits, redeliveries and the catalog may open,
   end or wait for deliveries. Time limits end others (`planning.deadlines`).
6. Deliveries that are ready are claimed, as many as there are slots (`runners.slots`).
7. The ledger is written (`storage.stored`, `storage.slices`), in one write where the status holds
   it, slice by slice otherwise.
8. What was claimed by that write is sent (`runners.in_flight`).

A process that does not lead records what became of its own claims, and decides nothing.

Claims and doubt
----------------

A claim says who made it: the epoch, which is the acquisition of the Lease it was made under, and a
holder that no other process has. `attempts` is raised by the claim, so that a crash costs one.

A claim of a process that is gone is in *doubt*: it may have been sent. `onAmbiguous` decides
whether it is sent again or held, except where a processor is idempotent: then nothing is ever in
doubt. The claim window (`dispatch.lane`) bounds how many claims there are at a time, and so the
doubt that a crash can leave.

Slots
-----

A slot is the right to claim and send one delivery through a processor. `dispatch.lane.Lane` grants
them, in the order of `dispatch.fair_queue`, as far as the claim window and the processor's health
allow. A slot is held from the grant until the outcome is recorded, or given back earlier by a
runner that cannot write.

Slices
------

More deliveries than `ledger.ledger.INLINE_LIMIT` are moved into slices of `SLICE_SIZE`. Slices are
written before the status that commits them: what was written and not committed is planned again.
The status then shows sums, and the deliveries that need attention.

Rooms
-----

``ledger``
    What is known of the deliveries, and the pure rules of how they change.
``planning``
    Whom a Notification reaches, through which processors, and until when.
``dispatch``
    NotificationProcessors at work: their health, their windows, and whose turn it is.
``storage``
    How ledgers are written, and what is left alone.
``runners``
    One Notification at work.

`engine` hands over what is seen in the cluster to runners, `ttl` deletes what is over, `ports` says
what the engine needs of the cluster, and `wakeup` says for how long something may be left alone.
"""
