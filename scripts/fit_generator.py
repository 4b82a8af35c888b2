#!/usr/bin/env python3
"""Measures the statistics of real logs that the event generator is fitted to. Needs the standard library only.

    fit_generator.py DATA_FOLDER                 the real logs (listed in docs/generator.md)
    fit_generator.py --events EVENTS.jsonl[.gz]  the same statistics of a generated log, for comparison
    fit_generator.py --thinned EVENTS.jsonl[.gz] of 2 h 10 min of it, thinned to the events per user of the Taobao slice

The Taobao slice lasts 2 h 10 min, so statistics that need earlier events (repeats, earlier views) are lower bounds.
"""

import bisect
import collections
import csv
import gzip
import json
import math
import pathlib
import random
import sys

SESSION_GAP = 30 * 60  # seconds without an event that end a session, for logs without session ids
ALIASES = {"pv": "view", "fav": "favourite", "buy": "purchase"}
FUNNEL = ("view", "cart", "favourite", "purchase")


def show(name, value):
    print(f"{name:<66} {value:.4g}" if isinstance(value, float) else f"{name:<66} {value}")


def quantiles(values, at=(0.5, 0.9, 0.99)):
    values = sorted(values)
    picked = " ".join(f"p{100 * q:g} {values[int(q * (len(values) - 1))]:g}" for q in at)
    return f"mean {sum(values) / len(values):.3g} {picked} max {values[-1]:g}"


def popularity(name, counts):
    """Shares of the head, and the Zipf exponent: the slope of log count over log rank at evenly spaced log ranks."""
    ranked = sorted(counts.values(), reverse=True)
    total = sum(ranked)
    show(f"{name}: items", len(ranked))
    show(f"{name}: share of the hottest item", ranked[0] / total)
    show(f"{name}: share of the top 10", sum(ranked[:10]) / total)
    for percent in (1, 10):
        head = ranked[: max(1, len(ranked) * percent // 100)]
        show(f"{name}: share of the top {percent} % of items", sum(head) / total)
    for first, last in ((1, 100), (10, 1000), (100, 5000)):
        if last >= len(ranked):
            continue
        steps = 40
        xs = [math.log(first) + (math.log(last) - math.log(first)) * s / steps for s in range(steps + 1)]
        ys = [math.log(ranked[round(math.exp(x)) - 1]) for x in xs]
        mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
        slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)
        show(f"{name}: Zipf exponent of ranks {first} to {last}", -slope)


def activity(name, counts):
    """Standard deviation of lognormal activity, by maximum likelihood of the event counts of users with any event."""
    seen = collections.Counter(counts)
    nodes = [-4 + 8 * (n + 0.5) / 80 for n in range(80)]
    weights = [math.exp(-z * z / 2) for z in nodes]
    norm = sum(weights)

    def likelihood(mu, sigma):
        rates = [math.exp(mu + sigma * z) for z in nodes]
        unseen = sum(w * math.exp(-r) for w, r in zip(weights, rates)) / norm
        total = 0.0
        for k, users in seen.items():
            p = sum(w * math.exp(-r + k * math.log(r) - math.lgamma(k + 1)) for w, r in zip(weights, rates)) / norm
            total += users * (math.log(max(p, 1e-300)) - math.log(1 - unseen))
        return total

    grid = [(mu / 10, sigma / 20) for mu in range(-30, 31) for sigma in range(1, 41)]
    mu, sigma = max(grid, key=lambda at: likelihood(*at))
    show(f"{name}: activity of users, sd of the logarithm (truncated Poisson-lognormal)", sigma)
    show(f"{name}: the same fit: events of the median user", math.exp(mu))


def gaps(name, times_by_key):
    seconds = [b - a for times in times_by_key.values() for a, b in zip(times, times[1:])]
    inside = [gap for gap in seconds if gap <= SESSION_GAP]
    show(f"{name}: gap between successive events, s", quantiles(seconds))
    show(f"{name}: the same within {SESSION_GAP // 60} min", quantiles(inside))
    show(f"{name}: share of gaps above {SESSION_GAP // 60} min", 1 - len(inside) / len(seconds))


def behaviour(name, events):
    """`events`: (user, item, category or None, action, seconds), in time order."""
    mix = collections.Counter(action for _, _, _, action, _ in events)
    for action, count in mix.most_common():
        show(f"{name}: share of {action}", count / len(events))
    views = sum(mix[a] for a in ("view", "click"))
    for action in FUNNEL[1:]:
        show(f"{name}: {action} per view or click", mix[action] / views)

    by_user = collections.defaultdict(list)
    for event in events:
        by_user[event[0]].append(event)
    show(f"{name}: events", len(events))
    show(f"{name}: users", len(by_user))
    show(f"{name}: events per user", quantiles([len(e) for e in by_user.values()]))
    show(f"{name}: items per user", quantiles([len({e[1] for e in of}) for of in by_user.values()]))
    for level in (5, 10, 20, 50):
        show(f"{name}: share of users with {level} events or more", sum(len(e) >= level for e in by_user.values()) / len(by_user))
    activity(name, [len(e) for e in by_user.values()])
    ranked = sorted((len(e) for e in by_user.values()), reverse=True)
    show(f"{name}: share of events of the top 10 % of users", sum(ranked[: len(ranked) // 10]) / len(events))

    seen_later = repeats = same_category = categories = 0
    preceded, viewed, followed = collections.Counter(), set(), collections.Counter()
    delay = collections.defaultdict(list)
    last_view = {}
    for user, of in by_user.items():
        seen, last_category = set(), None
        for n, (_, item, category, action, ts) in enumerate(of):
            if n and action in ("view", "click"):
                seen_later += 1
                repeats += item in seen
            if n and category is not None:
                categories += 1
                same_category += category == last_category
            if action in FUNNEL[1:] and (user, item) in viewed:
                preceded[action] += 1
                delay[action].append(ts - last_view[user, item])
            if action in ("view", "click"):
                viewed.add((user, item))
                last_view[user, item] = ts
            seen.add(item)
            last_category = category
    show(f"{name}: a later view is of an item this user touched before", repeats / max(1, seen_later))
    if categories:
        show(f"{name}: an event is in the category of the user's last", same_category / categories)
    for action in FUNNEL[1:]:
        if mix[action]:
            show(f"{name}: {action} after a view of the same user and item", preceded[action] / mix[action])
            later = [e for of in by_user.values() for n, e in enumerate(of) if n >= 3 and e[3] == action]
            pairs = {}
            for event in events:
                pairs.setdefault((event[0], event[1]), event[4])
            with_view = sum(1 for e in later if (e[0], e[1]) in viewed and pairs[e[0], e[1]] < e[4])
            if later:
                show(f"{name}: the same, from the user's 4th event on (touched before)", with_view / len(later))
        if delay[action]:
            show(f"{name}: s from the last view to {action}", quantiles(delay[action]))
    gaps(name, {user: [e[4] for e in of] for user, of in by_user.items()})
    popularity(name, collections.Counter(e[1] for e in events))

    seconds = collections.Counter(int(e[4]) for e in events)
    span = max(1, max(seconds) - min(seconds))
    mean = len(events) / (span + 1)
    variance = sum((seconds[s] - mean) ** 2 for s in range(min(seconds), max(seconds) + 1)) / (span + 1)
    show(f"{name}: events/s", mean)
    show(f"{name}: variance/mean of events per second (1 = Poisson)", variance / mean)


def sessions(name, rows):
    by_session = collections.defaultdict(list)
    for session, item, ts in rows:
        by_session[session].append((ts, item))
    lengths = [len(of) for of in by_session.values()]
    show(f"{name}: clicks per session", quantiles(lengths))
    show(f"{name}: share of sessions of 2 clicks", lengths.count(2) / len(lengths))
    show(f"{name}: session duration, s", quantiles([max(of)[0] - min(of)[0] for of in by_session.values()]))
    later = again = 0
    for of in by_session.values():
        items = [item for _, item in sorted(of)]
        later += len(items) - 1
        again += sum(item in items[:n] for n, item in enumerate(items) if n)
    show(f"{name}: a later click is on an item of the same session", again / later)
    gaps(name, {session: sorted(ts for ts, _ in of) for session, of in by_session.items()})
    popularity(name, collections.Counter(item for _, item, _ in rows))


def live_posts(name, rows):
    videos = [row for row in rows if row["status_type"] == "video"]
    total = {c: sum(int(v[c]) for v in videos) for c in ("num_comments", "num_reactions", "num_likes", "num_shares")}
    show(f"{name}: videos", len(videos))
    for column, count in total.items():
        show(f"{name}: {column} per video", quantiles([int(v[column]) for v in videos]))
        ranked = sorted((int(v[column]) for v in videos), reverse=True)
        show(f"{name}: {column}, share of the top 10 % of videos", sum(ranked[: len(ranked) // 10]) / count)
        logs = sorted(math.log(n) for n in ranked if n)
        mean = sum(logs) / len(logs)
        show(f"{name}: {column} of videos with any, sd of the logarithm", math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs)))
    show(f"{name}: comments per reaction, pooled", total["num_comments"] / total["num_reactions"])
    show(f"{name}: shares per reaction, pooled", total["num_shares"] / total["num_reactions"])
    for column in ("num_comments", "num_shares"):
        ratio = sorted(int(v[column]) / int(v["num_reactions"]) for v in videos if int(v["num_reactions"]) >= 10)
        show(f"{name}: {column} per reaction, over videos of 10 or more", quantiles(ratio))


def read(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def of_folder(folder):
    behaviour("taobao", [
        (r["user_id"], r["item_id"], r["category_id"], ALIASES.get(r["behavior"], r["behavior"]), int(r["timestamp"]))
        for r in read(folder / "taobao_userbehavior_slice.csv.gz")
    ])
    print()
    sessions("serenade", [
        (r["session_id"], r["item_id"], int(r["timestamp"])) for r in read(folder / "serenade_sessions.csv.gz")
    ])
    print()
    live_posts("fb live", list(read(folder / "fb_live_sellers.csv.gz")))


def of_events(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as lines:
        events = [json.loads(line) for line in lines]
    behaviour("generated", [(e["user"], e["item"], None, e["action"], e["ts"] / 1000) for e in events])
    mix = collections.Counter(e["action"] for e in events)
    if mix["like"]:
        for action in ("comment", "share", "follow"):
            show(f"generated: {action}s per like", mix[action] / mix["like"])
    likes, comments, shares = (
        collections.Counter(e["room"] for e in events if e["action"] == action) for action in ("like", "comment", "share")
    )
    logs = [math.log(n) for n in likes.values()]
    mean = sum(logs) / len(logs)
    show("generated rooms: likes, sd of the logarithm", math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs)))
    for name, counts in (("comments", comments), ("shares", shares)):
        ratio = [counts[room] / likes[room] for room in likes if likes[room] >= 10]
        show(f"generated rooms: {name} per like, over rooms of 10 or more", quantiles(ratio))
    rows, last, number = [], {}, collections.Counter()
    for e in events:
        if e["action"] not in ("view", "click"):
            continue
        ts = e["ts"] / 1000
        if ts - last.get(e["user"], ts) > SESSION_GAP:
            number[e["user"]] += 1
        last[e["user"]] = ts
        rows.append(((e["user"], number[e["user"]]), e["item"], ts))
    sessions("generated sessions", rows)


def of_thinned(path, seconds=7811, target=1.66):
    """Statistics of a random sample of the events, as the Taobao slice may be one."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    with opened as lines:
        events = [json.loads(line) for line in lines]
    # The slice has only visits and the funnel.
    events = [e for e in events if e["ts"] < events[0]["ts"] + 1000 * seconds and e["action"] in ("view", "click", *FUNNEL)]
    generator = random.Random(1)
    draws = [generator.random() for _ in events]
    low, high = 0.0, 1.0
    for _ in range(20):
        keep = (low + high) / 2
        kept = [e for e, draw in zip(events, draws) if draw < keep]
        per_user = len(kept) / max(1, len({e["user"] for e in kept}))
        low, high = (keep, high) if per_user < target else (low, keep)
    show("thinned: share of events kept", keep)
    behaviour("thinned", [(e["user"], e["item"], None, e["action"], e["ts"] / 1000) for e in kept])


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--thinned":
        of_thinned(pathlib.Path(arguments[1]))
    elif len(arguments) == 2 and arguments[0] == "--events":
        of_events(pathlib.Path(arguments[1]))
    elif len(arguments) == 1:
        of_folder(pathlib.Path(arguments[0]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
