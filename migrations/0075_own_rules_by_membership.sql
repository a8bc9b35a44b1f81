-- Whose push rules are to be asked about an event is looked up with each event. SQLite takes the index that
-- fixes the most columns, which was the one with all members of the room.
DROP INDEX memberships_own_rules;
CREATE INDEX memberships_own_rules ON memberships (room_id, membership, user_id)
    WHERE own_rules_pos IS NOT NULL;
