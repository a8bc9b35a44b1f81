-- MSC3814: a device of a user that is nowhere, and gets messages meanwhile.
CREATE TABLE dehydrated_devices (
    user_id TEXT PRIMARY KEY,
    device_id TEXT NOT NULL,
    device_data TEXT NOT NULL
) WITHOUT ROWID;
