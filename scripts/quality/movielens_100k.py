#!/usr/bin/env python3
"""MovieLens-100K, leave-last-out with full ranking: published figures first, then the graph on the same split.

    pip download --no-deps recbole && unzip recbole-*.whl 'recbole/dataset_example/ml-100k/ml-100k.inter'
    scripts/quality/movielens_100k.py recbole/dataset_example/ml-100k/ml-100k.inter [target/release/deltarec]

(pip install numpy scipy xxhash). Also for Jaccard and the log-likelihood ratio. The protocol: all 100,000 ratings, whatever
their stars; the ratings of a user ordered by (timestamp, item); the last one is held out; all items that the user has not
rated are ranked, ties by the smaller item; plain cosine of the sets of users, 100 neighbours per item, ties by the smaller
item; the score of i is the sum of the similarities to those items of the user that have i among their neighbours.
"""

import csv
import json
import subprocess
import sys
import tempfile

import numpy as np
import xxhash
from scipy.sparse import csr_matrix

NEIGHBOURS, K = 100, 10


def read(path):
    with open(path, encoding="utf-8") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t") for line in lines]
    rows = np.array([(int(user), int(item), int(float(ts))) for user, item, _, ts in rows])
    rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]
    is_last = np.r_[rows[1:, 0] != rows[:-1, 0], True]
    return rows[~is_last], rows[is_last]


def cosine(both, one, other, neither):
    return both / np.sqrt((both + one) * (both + other))


def jaccard(both, one, other, neither):
    return both / (both + one + other)


def llr(both, one, other, neither):
    """Log-likelihood ratio, by entropies."""
    x = lambda k: k * np.log(np.where(k > 0, k, 1))
    total = both + one + other + neither
    table = x(both) + x(one) + x(other) + x(neither) + x(total)
    margins = x(both + one) + x(other + neither) + x(both + other) + x(one + neither)
    return np.maximum(2 * (table - margins), 0)


def sought(both, one, other, neither):
    """Root of the ratio; 0 for pairs that co-occur no more often than by chance."""
    by_chance = (both + one) * (both + other) / (both + one + other + neither)
    return np.where(both > by_chance, np.sqrt(llr(both, one, other, neither)), 0)


def similarities(has, order=None, measure=cosine, similarity=None):
    """Nearest items of each item; ties by the smaller number, or by `order`."""
    together = (has.T @ has).toarray().astype(float)
    np.fill_diagonal(together, 0)
    pairs = np.count_nonzero(np.triu(together))
    count = np.asarray(has.sum(axis=0)).ravel().astype(float)
    users = np.count_nonzero(np.asarray(has.sum(axis=1)).ravel())
    one, other = count[:, None] - together, count[None, :] - together
    with np.errstate(invalid="ignore", divide="ignore"):
        similar = np.nan_to_num(measure(together, one, other, users - together - one - other))
    similar = np.where(together > 0, similar, 0)
    if similarity is not None:
        similar = similarity(similar)
    order = np.arange(len(similar)) if order is None else order
    nearest = order[np.argsort(-similar[:, order], axis=1, kind="stable")[:, :NEIGHBOURS]]
    kept = np.zeros_like(similar)
    rows = np.arange(len(similar))[:, None]
    kept[rows, nearest] = similar[rows, nearest]
    return kept, pairs, int(np.triu(together).sum())


def ranks_of(scores, train, held, place=None):
    """Rank from 0 of each held-out item among the items that its user has not rated, K if it has no score. `place` orders
    items with equal scores."""
    ranks = []
    for user, item, _ in held:
        score = scores(user)
        score[train[user]] = -1.0
        first = np.arange(len(score)) < item if place is None else place < place[item]
        better = np.count_nonzero(score > score[item]) + np.count_nonzero((score == score[item]) & first)
        ranks.append(better if score[item] > 0 else K)
    return np.array(ranks)


def tell(name, ranks, published=None):
    hit = ranks < K
    found = [hit.mean(), (hit / np.log2(ranks + 2)).mean(), (hit / (ranks + 1)).mean()]
    print(f"{name:42} HR@10 {found[0]:.4f}  NDCG@10 {found[1]:.4f}  MRR@10 {found[2]:.4f}")
    if published:
        assert [f"{value:.4f}" for value in found] == published, f"published: {published}"


def main():
    train, held = read(sys.argv[1])
    users, items = train[:, 0].max() + 1, max(train[:, 1].max(), held[:, 1].max()) + 1
    has = csr_matrix((np.ones(len(train), dtype=np.int64), (train[:, 0], train[:, 1])), shape=(users, items))
    similar, pairs, together = similarities(has)
    print(f"{len(held)} users, {len(train):,} ratings learnt, {pairs:,} pairs of items, {together:,} co-occurrences")
    assert (len(held), len(train), pairs, together) == (943, 99_057, 979_825, 9_951_349)
    rated = [train[train[:, 0] == user, 1] for user in range(users)]  # in the order of time
    popular = np.asarray(has.sum(axis=0)).ravel().astype(float)
    tell("popularity", ranks_of(lambda user: popular.copy(), rated, held), ["0.0498", "0.0253", "0.0179"])
    tell("cosine, all items", ranks_of(lambda user: similar[rated[user]].sum(axis=0), rated, held), ["0.0615", "0.0284", "0.0186"])
    last_ten = ranks_of(lambda user: similar[rated[user][-10:]].sum(axis=0), rated, held)
    tell("cosine, last ten items", last_ten, ["0.1060", "0.0505", "0.0340"])
    for measure, of_all, of_ten in [
        (jaccard, ["0.0604", "0.0268", "0.0166"], ["0.1029", "0.0553", "0.0409"]),
        (llr, ["0.0626", "0.0285", "0.0184"], ["0.0997", "0.0548", "0.0412"]),
        (sought, None, None),
    ]:
        other, *_ = similarities(has, measure=measure)
        of = {"sought": "llr, its root, only what is sought"}.get(measure.__name__, measure.__name__)
        tell(f"{of}, all items", ranks_of(lambda user: other[rated[user]].sum(axis=0), rated, held), of_all)
        tell(f"{of}, last ten items", ranks_of(lambda user: other[rated[user][-10:]].sum(axis=0), rated, held), of_ten)
    # Two steps towards the graph: its order of ties, and its similarities from 1 to 1,024.
    order = np.array(sorted(range(items), key=lambda item: xxhash.xxh3_64_intdigest(str(item).encode())))
    place = np.argsort(order)
    similar, *_ = similarities(has, order)
    tell("the same, equal ones by id64", ranks_of(lambda user: similar[rated[user][-10:]].sum(axis=0), rated, held, place))
    whole = lambda similar: np.where(similar > 0, np.maximum(1, np.floor(0.5 + 1024 * similar)), 0)
    similar, *_ = similarities(has, order, similarity=whole)
    tell("and in 1,024 steps", ranks_of(lambda user: similar[rated[user][-10:]].sum(axis=0), rated, held, place))
    if len(sys.argv) > 2:
        graph(sys.argv[2], train, held)


def graph(program, train, held):
    """deltarec, configured as closely to the protocol as possible. It orders equal times by id64, so each rating gets its
    own millisecond within its second, in the order of the protocol."""
    rows = np.concatenate([train, held])
    rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/log.csv", "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["user", "item", "ts"])
            last, within = None, 0
            for user, item, ts in rows:
                within = within + 1 if (user, ts) == last else 0
                last = (user, ts)
                out.writerow([user, item, ts * 1000 + within])
        # Similar items only; in `plain` each item of the profile for itself, and no pair counts twice.
        alone = ["sources.users=0"]
        plain = [*alone, "near=0ms", "basket=0ms", "neighbours=100", "shrink=0", "stairs=[10]", "history=1000"]
        resolutions, similarities = "resolution=2,4,8,16", "similarity=cosine,jaccard,llr,count"
        for name, sets, sweep in [
            ("", plain, resolutions), (", history of 50", [*plain, "history=50"], resolutions), (", defaults", alone, resolutions),
            (", resolution 16", [*plain, "resolution=16"], similarities), (", defaults", alone, similarities),
        ]:  # fmt: skip
            subprocess.run(
                [program, "evaluate", "--input", f"{folder}/log.csv", "--action", "view", "--quiet", "--resamples", "0",
                 *[part for key in sets for part in ("--set", f"graph.{key}")],
                 "--sweep", f"graph.{sweep}", "--json", f"{folder}/out.json"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            with open(f"{folder}/out.json", encoding="utf-8") as file:
                systems = json.load(file)["systems"]
            for system in systems[:4] + (systems[4:5] if name == "" else []):
                new = system["items"]["new"]["metrics"]
                label = f"deltarec {system['name']}{name}" if system["set"] else f"deltarec's baseline {system['name']}"
                print(f"{label:42} " + "  ".join(f"{title} {new[key]['mean']:.4f}" for title, key in
                      [("HR@10", "hit_rate@10"), ("NDCG@10", "ndcg@10"), ("MRR@10", "mrr@10")]))  # fmt: skip


if __name__ == "__main__":
    main()
