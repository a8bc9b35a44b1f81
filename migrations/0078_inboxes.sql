-- How many messages wait for a device, so that they need not be counted for each that comes; and by whom
-- each is, so that whoever sent most makes room. Those from before this migration count as one sender's.
ALTER TABLE devices ADD COLUMN to_device_waiting BIGINT NOT NULL DEFAULT 0;
UPDATE devices SET to_device_waiting = (SELECT COUNT(*) FROM to_device t
    WHERE t.user_id = devices.user_id AND t.device_id = devices.device_id);
ALTER TABLE to_device ADD COLUMN sender TEXT NOT NULL DEFAULT '';
