#!/usr/bin/env python3
"""Keeps the latest list of each user and answers look-ups.

    deltarec run --input events.jsonl | python3 examples/consumer.py            # prints all lists at the end
    python3 examples/consumer.py changes.jsonl --user ann --user ben --room r7  # prints what ann and ben see in room r7
    deltarec run --clock wall | python3 examples/consumer.py --serve 8080       # GET http://127.0.0.1:8080/ann?room=r7

Changes are JSON lines, as docs/output.md describes them.

In production the changes come from a compacted Kafka topic (docs/kafka.md). Read it with any client. With the package
confluent-kafka:

    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": "b1:9092", "group.id": "list-server",
        "isolation.level": "read_committed",     # lists of aborted transactions are never seen
        "auto.offset.reset": "earliest",         # the topic is the state: read all of it at every start,
        "enable.auto.commit": False,             # and commit no offsets
    })

Then call `lists.update(record.key().decode(), json.loads(record.value())["items"])` for each record. A record without a
value is a tombstone, which means `lists.update(key, [])`. Answer no look-up before the end of each partition is reached.
"""

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Lists:
    """The latest list by key: the name of a user, or the reserved key of a shared list."""

    def __init__(self):
        self.by_key = {}

    def update(self, key, items):
        # A change has the whole list, so it replaces the one before. An empty list is a removal: the user has left the
        # audience. Keeping empty lists would fill the memory with former users.
        if items:
            self.by_key[key] = [entry["item"] for entry in items]
        else:
            self.by_key.pop(key, None)

    def read(self, lines):
        for line in lines:
            change = json.loads(line)
            self.update(change["user"], change["items"])

    def look_up(self, user, room=None):
        """The user's list; without one, what trends in the room; else what trends everywhere.

        A short form of the rule in docs/trending.md, which also fills up a list that is too short.
        """
        keys = [user, *([f"deltarec:trending:room:{room}"] if room else []), "deltarec:trending"]
        return next((self.by_key[key] for key in keys if key in self.by_key), [])


def serve(lists, port):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            room = parse_qs(url.query).get("room", [None])[0]
            body = json.dumps(lists.look_up(unquote(url.path[1:]), room)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"serving http://127.0.0.1:{server.server_port}/USER?room=ROOM", file=sys.stderr, flush=True)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description="Keeps the latest list of each user and answers look-ups.")
    parser.add_argument("changes", nargs="?", help="file of changes (default: stdin)")
    parser.add_argument("--user", action="append", help="print the list of this user; may be repeated (default: all)")
    parser.add_argument("--room", help="room whose trending list replaces a missing list")
    parser.add_argument("--serve", type=int, metavar="PORT", help="answer look-ups over HTTP while changes arrive")
    args = parser.parse_args()

    lists = Lists()
    lines = open(args.changes, "rb") if args.changes else sys.stdin.buffer
    if args.serve is not None:
        threading.Thread(target=lists.read, args=[lines], daemon=True).start()
        serve(lists, args.serve)
    lists.read(lines)
    for user in args.user or sorted(lists.by_key):
        print(json.dumps({"user": user, "items": lists.look_up(user, args.room)}))


if __name__ == "__main__":
    main()
