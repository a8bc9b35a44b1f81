-- What users have not read in threads is counted apart from the rest, of which there is much more.
CREATE INDEX notifications_thread
    ON notifications (user_id, room_id, pos, thread_root, notify, highlight)
    WHERE thread_root <> 'main';
