-- Pushers that tell by letters: how many came of which none was heeded, and the token of the link by which there
-- are no more.
ALTER TABLE pushers ADD COLUMN letters BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pushers ADD COLUMN unsubscribe TEXT;
CREATE UNIQUE INDEX pushers_unsubscribe ON pushers (unsubscribe) WHERE unsubscribe IS NOT NULL;
