#!/usr/bin/env python3
"""Measures how fast the batch library `implicit` computes all lists on one thread, for comparison with a bulk load.

Run manually (pip install implicit), on the same events as the graph:

    cargo run --release -- generate --events 1000000 --output /tmp/events.jsonl
    scripts/compare_implicit.py /tmp/events.jsonl
    cargo bench --bench cost -- --only graph-1 --events 1000000 --batch 1000000 --audience all

Both start with integer ids in memory and end with ten items per user; reading and names are not counted. The closest
configuration of the library: histories of the 50 newest items with the highest level of each, cosine of the levels, 30
neighbours per item, and profiles of the 16 newest items with the same weights. The library does not quantise, shrink or
take the smaller of two levels, so its lists differ: this compares work, not results.
"""

import json
import os
import sys
import time
import warnings

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

warnings.filterwarnings("ignore")  # the library converts its own matrices

LEVELS = {"view": 1, "click": 2, "like": 3, "comment": 3, "share": 4, "follow": 4, "favourite": 4, "cart": 5, "purchase": 6}
STAIRS = [8, 8, 4, 4, 2, 2, 2, 2] + [1] * 8
HISTORY, NEIGHBOURS, K = 50, 30, 10


def level(event):
    """Level of an event by the default levels; 0 if it is ignored."""
    if event["action"] != "watch":
        return LEVELS[event["action"]]
    dwell = event["dwell_ms"]
    return 3 if dwell >= 120_000 else 2 if dwell >= 30_000 else 1 if dwell >= 5_000 else 0


def read(path):
    users, items, rows = {}, {}, []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if levels := level(event):
                user = users.setdefault(event["user"], len(users))
                item = items.setdefault(event["item"], len(items))
                rows.append((user, item, levels, event["ts"]))
    return np.array(rows, dtype=np.int64), len(users), len(items)


def histories(events):
    """User, item, level and rank of the newest items of each user, newest first."""
    user, item, levels, ts = events.T
    order = np.lexsort((-levels, -ts, item, user))
    user, item, levels, ts = user[order], item[order], levels[order], ts[order]
    first = np.r_[True, (user[1:] != user[:-1]) | (item[1:] != item[:-1])]
    starts = np.flatnonzero(first)
    user, item, ts, levels = user[starts], item[starts], ts[starts], np.maximum.reduceat(levels, starts)
    order = np.lexsort((item, -ts, user))
    user, item, levels = user[order], item[order], levels[order]
    begins = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
    rank = np.arange(len(user)) - np.repeat(begins, np.diff(np.r_[begins, len(user)]))
    kept = rank < HISTORY
    return user[kept], item[kept], levels[kept], rank[kept]


def main():
    events, users, items = read(sys.argv[1])
    started = time.perf_counter()
    user, item, levels, rank = histories(events)
    seen = csr_matrix((levels.astype(np.float32), (user, item)), shape=(users, items))
    prepared = time.perf_counter()
    model = CosineRecommender(K=NEIGHBOURS + 1, num_threads=1)  # an item is among its own neighbours
    model.fit(seen, show_progress=False)
    fitted = time.perf_counter()
    near = rank < len(STAIRS)
    weights = levels[near] * np.array(STAIRS)[rank[near]]
    profiles = csr_matrix((weights.astype(np.float32), (user[near], item[near])), shape=(users, items))
    model.recommend(np.arange(users), profiles, N=K, filter_already_liked_items=True)
    done = time.perf_counter()
    print(
        f"{len(events):,} events of {users:,} users and {items:,} items: histories {prepared - started:.2f} s, "
        f"similar items {fitted - prepared:.2f} s, lists {done - fitted:.2f} s; "
        f"{len(events) / (done - started):,.0f} events/s"
    )


if __name__ == "__main__":
    main()
