-- The version of a room that this server is not in, as an invite or the answer to a knock named it:
-- without it, the event by which the invite or knock ends could not be read.
ALTER TABLE memberships ADD COLUMN room_version TEXT;
