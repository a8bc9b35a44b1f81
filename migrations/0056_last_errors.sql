-- Why a server last did not take a transaction, for whoever wonders.
ALTER TABLE destinations ADD COLUMN last_error TEXT;
