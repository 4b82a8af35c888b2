#!/usr/bin/env python3
"""The batch library `implicit` on the split that `deltarec evaluate` makes, both ranking everything.

    DELTAREC_DATA=folder scripts/quality/compare_implicit.py target/release/deltarec [LOG...]

(pip install implicit numpy scipy xxhash). The library gets what the graph has: histories of the 100 newest items, cosine, 30
neighbours, the same weights of the profile. It does not quantise or shrink, weighs pairs by the product of two levels instead of
the smaller, and breaks ties in its own way. Beside it the same without stairs (a profile of all levels), which is how it is
commonly used, and its shrunk relative, BM25.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from scipy.sparse import csr_matrix

import logs
from exact import NEIGHBOURS, Log, weights

warnings.filterwarnings("ignore")  # the library converts its own matrices
K = 10


def tell(log, name, metrics):
    print(f"{log:10} {name:28} HR@10 {metrics[0]:.4f}  NDCG@10 {metrics[1]:.4f}  MRR@10 {metrics[2]:.4f}", flush=True)


def figures(log, model, profiles):
    cases = [case for case in log.held if case not in log.seen]
    users = np.array([user for user, _ in cases])
    ids, scores = model.recommend(users, profiles[users], N=K, filter_already_liked_items=True)
    found = []
    for (_, item), row, score in zip(cases, ids, scores):
        at = np.flatnonzero((row == item) & (score > 0))
        found.append(at[0] if len(at) else None)
    hits = [rank for rank in found if rank is not None]
    count = len(cases)
    return len(hits) / count, sum(1 / np.log2(rank + 2) for rank in hits) / count, sum(1 / (rank + 1) for rank in hits) / count


def main():
    for name in sys.argv[2:] or logs.LOGS:
        log = Log(logs.read(name))
        shape = (len(log.users), len(log.items))
        has = csr_matrix((log.level.astype(np.float32), (log.user, log.item)), shape=shape)
        # A tiny weight beyond the stairs: what is in the history is not recommended.
        stairs = np.maximum(weights(log), 1e-6).astype(np.float32)
        stairs = csr_matrix((stairs, (log.user, log.item)), shape=shape)
        for title, model in [("cosine", CosineRecommender), ("BM25", BM25Recommender)]:
            fitted = model(K=NEIGHBOURS + 1, num_threads=1)  # an item is among its own neighbours
            fitted.fit(has, show_progress=False)
            tell(name, f"implicit {title}, stairs", figures(log, fitted, stairs))
            tell(name, f"implicit {title}, all levels", figures(log, fitted, has))
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            subprocess.run(
                [sys.argv[1], "evaluate", *logs.arguments(name), "--quiet", "--json", file.name],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            systems = json.load(file)["systems"]
        for system in systems:
            new = system["items"]["new"]["metrics"]
            tell(name, system["name"], [new[key]["mean"] for key in ("hit_rate@10", "ndcg@10", "mrr@10")])


if __name__ == "__main__":
    main()
