"""The real logs of docs/quality.md: readers, arguments of deltarec, and the leave-last-out split.

The logs are not part of the project. DELTAREC_DATA names their folder.
"""

import csv
import gzip
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import xxhash

LEVELS = {"pv": 1, "cart": 5, "fav": 4, "buy": 6, "like": 3, "view": 1, "purchase": 6}


def seconds(text):
    return int(text) * 1000


def local(text):
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()) * 1000


# name: file, user column, item column, (action of all rows, action column), time column, parser, format, positive column
LOGS = {
    "movielens": ("movielens_small_ratings.csv.gz", "userId", "movieId", ("like", None), "timestamp", seconds, "s", None),
    "retail": (
        "online_retail_events.csv.gz", "customer_id", "item_id", ("purchase", None), "invoice_time", local,
        "%Y-%m-%d %H:%M:%S", "quantity",
    ),
    "taobao": ("taobao_userbehavior_slice.csv.gz", "user_id", "item_id", (None, "behavior"), "timestamp", seconds, "s", None),
    "serenade": ("serenade_sessions.csv.gz", "session_id", "item_id", ("view", None), "timestamp", seconds, "s", None),
}


def path(name):
    folder = os.environ.get("DELTAREC_DATA")
    if not folder:
        sys.exit("DELTAREC_DATA must name the folder of the logs")
    return Path(folder) / LOGS[name][0]


def arguments(name):
    """Arguments of deltarec for the log."""
    _, user, item, (action, column), ts, _, form, positive = LOGS[name]
    columns = f"user={user},item={item},ts={ts}:{form}" + (f",action={column}" if column else "")
    arguments = ["--input", str(path(name)), "--columns", columns]
    arguments += ["--action", action] if action else []
    return arguments + (["--where", f"{positive}>0"] if positive else [])


MASK = (1 << 64) - 1


def id64(name):
    return xxhash.xxh3_64_intdigest(name.encode())


def mix(n):
    """The finaliser of splitmix64, as in schema/src/id.rs."""
    n = (n ^ n >> 30) * 0xBF58476D1CE4E5B9 & MASK
    n = (n ^ n >> 27) * 0x94D049BB133111EB & MASK
    return n ^ n >> 31


def read(name, seed=1):
    """(user, item, level, ts), ordered by time, and at the same time as deltarec draws it from the seed."""
    _, user, item, (action, column), ts, parse, _, positive = LOGS[name]
    events = []
    with gzip.open(path(name), "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row[user] and row[item] and (positive is None or int(row[positive]) > 0):
                events.append((row[user], row[item], LEVELS[action or row[column]], parse(row[ts])))
    start = mix(seed)
    events.sort(key=lambda event: (event[3], mix(mix(start ^ id64(event[0])) ^ id64(event[1]))))
    return events


def leave_last_out(events):
    """Training events, and the item of the last event of each user with two or more."""
    last, count = {}, {}
    for at, (user, *_) in enumerate(events):
        last[user] = at
        count[user] = count.get(user, 0) + 1
    held = {at for user, at in last.items() if count[user] > 1}
    train = [event for at, event in enumerate(events) if at not in held]
    return train, {events[at][0]: events[at][1] for at in sorted(held)}
