#!/usr/bin/env python3
"""What graph.diversity costs and brings: docs/quality.md, "Diversity".

    DELTAREC_DATA=folder scripts/quality/diversity.py target/release/deltarec OUT

Writes the catalogues of the two logs with titles (genres of films; words of titles) and a report of each log to OUT.
"""

import csv
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

from logs import arguments, path

VALUES = "0,10,20,30,50,70,100"


def genres():
    with gzip.open(path("movielens").with_name("movielens_small_movies.csv.gz"), "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            yield row["movieId"], row["title"], [genre for genre in row["genres"].split("|") if genre[0] != "("]


def words():
    with gzip.open(path("retail").with_name("online_retail_items.csv.gz"), "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            title = row["description"]
            yield row["item_id"], title, sorted(set(re.findall(r"[A-Z]{3,}", title.upper())))[:32]


def main(deltarec, out):
    out.mkdir(parents=True, exist_ok=True)
    visits = ["--protocol", "next-visit", "--gap", "2h", "--set", "graph.retention=365d"]
    for log, items, protocol in [("movielens", genres(), ["--where", "rating>=4"]), ("retail", words(), visits)]:
        catalogue = out / f"{log}.jsonl"
        with catalogue.open("w", encoding="utf-8") as file:
            for item, title, tags in items:
                file.write(json.dumps({"item": item, "ts": 0, "title": title or item, "tags": tags}) + "\n")
        report = ["--json", str(out / f"{log}.json"), "--picture", str(out / f"{log}.svg")]
        command = [deltarec, "evaluate", *arguments(log), *protocol, "--catalogue", str(catalogue), *report]
        subprocess.run([*command, "--sweep", f"graph.diversity={VALUES}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
