"""Damages a SQLite database of Starling in one place, drawn from a seed, and says where.

    damage.py DATABASE SEED

Only tables and columns of which `starling doctor --deep` says that it looks at them are drawn.
"""

import random
import re
import sqlite3
import sys

# What is done to each column: 'bit' turns a bit over, 'other' takes the value of another row, a number is added.
COLUMNS = {
    "events": {
        "json": ["bit"],
        "event_id": ["bit", "other"],
        "type": ["other"],
        "sender": ["bit"],
        "depth": [1],
        "origin_server_ts": [1],
        "state_before": ["bit"],
    },
    "event_edges": {"event_id": ["other"], "prev_id": ["other"]},
    "forward_extremities": {"event_id": ["other"]},
    "timeline": {"event_id": ["bit", "other"], "depth": [1], "room_id": ["bit"]},
    "positions": {"kind": [1], "subject": ["bit"], "object": ["other"], "pos": [1_000_000]},
    "state_nodes": {"data": ["bit"], "node_id": [1]},
    "current_state": {"event_id": ["bit", "other"], "state_key": ["bit"]},
    "room_states": {"root": ["bit"]},
    "rooms": {"current_state": ["bit"], "joined_members": [1], "invited_members": [1], "max_depth": [-1]},
    "memberships": {"event_id": ["bit"], "membership": ["other"]},
    "room_servers": {"joined_members": [1]},
    "relations": {"parent_id": ["bit"], "rel_type": ["bit"], "event_id": ["other"]},
    "media": {"hash": ["bit"], "size": [1]},
    "media_thumbnails": {"thumbnail_hash": ["bit"], "size": [1]},
    "counters": {"value": [1]},
}

# Rows of which each is missed.
ROWS = [
    "events",
    "event_edges",
    "forward_extremities",
    "timeline",
    "positions",
    "state_nodes",
    "current_state",
    "memberships",
    "room_servers",
    "relations",
    "rooms",
]

# What makes no difference is left out: a node that no state needs, the key of which nobody knows any more.
# Facts of other kinds than events are told to clients and then only counted.
DROPPED = {
    "state_nodes": "node_id IN (SELECT current_state FROM rooms UNION SELECT state_before FROM events)",
    "room_servers": "joined_members > 0",
    "memberships": "(room_id, user_id) IN (SELECT room_id, state_key FROM current_state WHERE type = 'm.room.member')",
}
WHERE = {
    "positions": "kind = 1",
    "counters": "name = 'stream'",
    "media": "hash IS NOT NULL",
    "events": "state_before <> 0",
}


def harmless(data, at):
    """Whether nobody can tell what stood there: in the name of a key, or in the bits that base64 leaves over."""
    in_key = any(key.start() <= at < key.end() for key in re.finditer(rb"ed25519:[^\"]*", data))
    signatures = data.find(b'"signatures"')
    return in_key or (-1 < signatures < at and data[at + 1 : at + 2] == b'"')


def turned(rng, value):
    """The value with one bit turned over."""
    if isinstance(value, int):
        return value ^ 1 << rng.randrange(62)
    data = bytearray(value.encode(errors="surrogateescape") if isinstance(value, str) else value)
    if not data:
        return value
    at = rng.randrange(len(data))
    if harmless(bytes(data), at):
        return value
    data[at] ^= 1 << rng.randrange(8)
    # Not `str`: the bytes need be no UTF-8 any more, as on a damaged disk.
    return bytes(data)


def change(db, rng, table, where):
    column = rng.choice(list(COLUMNS[table]))
    way = rng.choice(COLUMNS[table][column])
    # Tables of one key have no row numbers, so rows are named by all their columns.
    rows = db.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()
    names = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
    row = rng.choice(rows)
    at = names.index(column)
    old = row[at]
    if old is None:
        return None
    if way == "bit":
        new = turned(rng, old)
    elif way == "other":
        new = rng.choice(rows)[at]
        new = new if rng.random() < 0.9 or not isinstance(new, str) else new + "x"
    else:
        new = old + way
    if new == old:
        return None
    expression = "CAST(? AS TEXT)" if isinstance(old, str) and isinstance(new, bytes) else "?"
    names_are = " AND ".join(f"{name} IS ?" for name in names)
    changed = db.execute(f"UPDATE {table} SET {column} = {expression} WHERE {names_are}", [new, *row])
    return f"{table}.{column}: {old!r} became {new!r}" if changed.rowcount else None


def drop(db, rng, table, where):
    rows = db.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()
    names = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
    row = rng.choice(rows)
    names_are = " AND ".join(f"{name} IS ?" for name in names)
    db.execute(f"DELETE FROM {table} WHERE {names_are}", row)
    return f"{table}: {row!r} is gone"


def main(database, seed):
    rng = random.Random(seed)
    db = sqlite3.connect(database, isolation_level=None)
    db.text_factory = lambda data: data.decode(errors="surrogateescape")
    while True:
        dropping = rng.random() < 0.3
        table = rng.choice(ROWS if dropping else list(COLUMNS))
        where = (DROPPED if dropping else {}).get(table) or WHERE.get(table, "1 = 1")
        try:
            said = (drop if dropping else change)(db, rng, table, where)
        except sqlite3.IntegrityError:
            continue
        except IndexError:
            raise SystemExit(f"there is nothing in {table}") from None
        if said:
            break
    db.close()
    print(said[:600].encode(errors="backslashreplace").decode())


main(sys.argv[1], int(sys.argv[2]))
