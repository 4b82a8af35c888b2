#!/usr/bin/env python3
"""Cost of quantised logarithms: the lists of docs/semantics.md with several resolutions, and with exact numbers.

    DELTAREC_DATA=folder scripts/quality/exact.py [LOG...] [--deltarec target/release/deltarec]

(pip install numpy scipy xxhash). Leave-last-out with full ranking. With a resolution the arithmetic equals that of the
semantics bit for bit; --deltarec checks that the metrics of the program are the same. "exact" replaces the rounded
logarithms by C^2 / (N + shrink) and changes nothing else. The source is that of similar items alone.
"""

import argparse
import json
import subprocess
import tempfile

import numpy as np
from scipy.sparse import csr_matrix

import logs

HISTORY, NEIGHBOURS, SHRINK, STAIRS = 100, 30, 20, [1, 2, 4, 24]
NEAR, BASKET = 60_000, 1_000
KS = [5, 10, 20]


class Log:
    """A split with numbers instead of names. Items are numbered in the order of their id64, so ties are by number."""

    def __init__(self, events):
        train, held = logs.leave_last_out(events)
        names = {item for _, item, *_ in events}
        ids = {name: logs.id64(name) for name in names}
        order = sorted(names, key=ids.get)
        self.items = {name: at for at, name in enumerate(order)}
        self.ids = np.array([ids[name] for name in order], dtype=np.uint64)
        self.users = {user: at for at, user in enumerate(dict.fromkeys(user for user, *_ in events))}
        rows = np.array([(self.users[u], self.items[i], level, ts) for u, i, level, ts in train], dtype=np.int64)
        self.seen = set(zip(rows[:, 0].tolist(), rows[:, 1].tolist()))
        self.known = len(set(rows[:, 1].tolist()))
        self.user, self.item, self.level, self.touched, self.rank, self.basket = histories(rows)
        self.held = [(self.users[user], self.items[item]) for user, item in held.items()]


def histories(rows):
    """User, item, level, last touch, rank and basket rank of each user's items, newest first. Displaced events do not count."""
    user, item, level, ts = rows.T
    order = np.lexsort((item, -ts, user))
    user, item, level, ts = user[order], item[order], level[order], ts[order]
    out, start = [], 0
    for end in [*(np.flatnonzero(np.diff(user)) + 1), len(user)]:
        best = {}
        for at in range(start, end):  # newest first: an event counts if it lies among the newest HISTORY items
            if item[at] in best:
                rank, kept = best[item[at]]
                after = sum(1 for t, i in touched if (t, -i) > (ts[at], -item[at]))
                if after < HISTORY:
                    best[item[at]] = (rank, max(kept, level[at]))
            else:
                if not best:
                    touched = []
                touched.append((ts[at], item[at]))
                best[item[at]] = (len(best), level[at])
        basket, before = 0, None
        for i, (rank, kept) in list(best.items())[:HISTORY]:
            at = touched[rank][0]
            basket += before is not None and before - at >= BASKET
            before = at
            out.append((user[start], i, kept, at, rank, basket))
        start = end
    return np.array(out, dtype=np.int64).T


def floor_log2(times, values):
    """floor(times * log2(x)), exactly: the bits of x^times."""
    unique, inverse = np.unique(values, return_inverse=True)
    return np.array([(int(x) ** times).bit_length() - 1 for x in unique], dtype=np.int64)[inverse]


def near_pairs(log):
    """What pairs of items add that a user touched within NEAR: they count twice."""
    rows, columns, values = [], [], []
    starts = np.flatnonzero(np.r_[True, np.diff(log.user) != 0])
    for start, end in zip(starts, [*starts[1:], len(log.user)]):
        item, level, touched = (column[start:end] for column in (log.item, log.level, log.touched))
        i, j = np.nonzero(np.abs(touched[:, None] - touched[None, :]) < NEAR)
        rows.append(item[i])
        columns.append(item[j])
        values.append(np.minimum(level[i], level[j]))
    shape = (len(log.items), len(log.items))
    return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def similarities(log, s):
    """Matrix of the similarities of the kept neighbours; exact if `s` is None."""
    shape = (len(log.users), len(log.items))
    popularity = np.bincount(log.item, weights=log.level, minlength=shape[1]).astype(np.int64)
    together = csr_matrix((shape[1], shape[1]), dtype=np.int64)
    for level in range(1, log.level.max() + 1):  # min(a, b) = the number of levels that both reach
        reach = log.level >= level
        has = csr_matrix((np.ones(reach.sum(), dtype=np.int64), (log.user[reach], log.item[reach])), shape=shape)
        together = together + has.T @ has
    pairs = (together + near_pairs(log)).tocoo()
    different = pairs.row != pairs.col
    i, j, c = pairs.row[different], pairs.col[different], pairs.data[different]
    if s is None:
        key = c.astype(float) ** 2 / (popularity[j] + SHRINK)
        value = c / np.sqrt(4 * (popularity[i] + SHRINK) * (popularity[j] + SHRINK).astype(float))
    else:
        phase = ((log.ids[i] ^ log.ids[j]) % np.uint64(64)).astype(np.int64)
        fine = floor_log2(64 * s, 2 * (popularity + SHRINK))
        key = 2 * floor_log2(s, c) - (fine[j] + phase) // 64
        exponent = key - (fine[i] + phase) // 64
        value = np.clip(np.floor(0.5 + 1024.0 * np.exp2(exponent / (2.0 * s))), 1, 1024).astype(np.int64)
    order = np.lexsort((j, -key, i))
    i, j, value = i[order], j[order], value[order]
    starts = np.flatnonzero(np.r_[True, i[1:] != i[:-1]])
    kept = np.arange(len(i)) - np.repeat(starts, np.diff(np.r_[starts, len(i)])) < NEIGHBOURS
    return csr_matrix((value[kept], (i[kept], j[kept])), shape=together.shape)


def weights(log):
    """The weight of each interaction in its user's profile."""
    stair = np.zeros(HISTORY, dtype=np.int64)
    for step, end in reversed(list(enumerate(STAIRS))):
        stair[:end] = 1 << (len(STAIRS) - 1 - step)
    return np.where(log.rank < STAIRS[-1], log.level * stair[log.basket], 0)


def lists(log, similar):
    """The top items of each user as (user, item, rank)."""
    shape = (len(log.users), len(log.items))
    profile = csr_matrix((weights(log), (log.user, log.item)), shape=shape)
    total = (profile @ similar).tocoo()
    user, item, score = total.row.astype(np.int64), total.col.astype(np.int64), total.data
    fresh = ~np.isin(user * shape[1] + item, log.user * shape[1] + log.item) & (score > 0)
    user, item, score = user[fresh], item[fresh], score[fresh]
    order = np.lexsort((item, -score, user))
    user, item = user[order], item[order]
    starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else np.array([], dtype=int)
    rank = np.arange(len(user)) - np.repeat(starts, np.diff(np.r_[starts, len(user)]))
    kept = rank < max(KS)
    return zip(user[kept].tolist(), item[kept].tolist(), rank[kept].tolist())


def figures(log, s):
    ranks = {(user, item): rank for user, item, rank in lists(log, similarities(log, s))}
    found = [ranks.get(case) for case in log.held if case not in log.seen]
    gains = np.array([1 / np.log2(rank + 2) if rank is not None and rank < 10 else 0 for rank in found])
    out = {}
    for k in KS:
        hits = [rank for rank in found if rank is not None and rank < k]
        out[f"hit_rate@{k}"] = len(hits) / len(found)
        out[f"ndcg@{k}"] = sum(1 / np.log2(rank + 2) for rank in hits) / len(found)
        out[f"mrr@{k}"] = sum(1 / (rank + 1) for rank in hits) / len(found)
    return gains, out


def interval(differences):
    """95% of the means of 1,000 resamples of the users, who have one case each."""
    draws = np.random.default_rng(1).integers(len(differences), size=(1000, len(differences)))
    return np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])


def deltarec(program, name, resolutions):
    """The figures of the program for each resolution."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        sweep = "graph.resolution=" + ",".join(map(str, resolutions))
        subprocess.run(
            [program, "evaluate", *logs.arguments(name), "--set", "graph.sources.users=0", "--sweep", sweep,
             "--resamples", "0", "--quiet", "--json", file.name],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        systems = json.load(file)["systems"]
    return [{key: value["mean"] for key, value in system["items"]["new"]["metrics"].items()} for system in systems]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="*", default=list(logs.LOGS), metavar="LOG", help=", ".join(logs.LOGS))
    parser.add_argument("--deltarec", metavar="PROGRAM", help="check that it says the same")
    args = parser.parse_args()
    for name in args.logs:
        log = Log(logs.read(name))
        resolutions = [2, 4, 8, 16]
        theirs = deltarec(args.deltarec, name, resolutions) if args.deltarec else [None] * len(resolutions)
        exact, of_exact = figures(log, None)
        for s, said in [*zip(resolutions, theirs), (None, None)]:
            gains, found = (exact, of_exact) if s is None else figures(log, s)
            line = "  ".join(f"{key} {found[key]:.4f}" for key in ("hit_rate@10", "ndcg@10", "mrr@10", "hit_rate@20"))
            print(f"{name:10} {'exact' if s is None else s:>5}  {len(gains):6} new  {line}", end="")
            if s is not None:
                low, high = interval(gains - exact)
                print(f"  NDCG@10 less exact {(gains - exact).mean():+.4f} ({low:+.4f} {high:+.4f})", end="")
            if said is not None:
                worst = max(abs(said[key] - value) for key, value in found.items())
                assert worst < 1e-9, f"deltarec says {said}, the semantics {found}"
                print("  deltarec: the same", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
