-- A token is refreshed without a look at all others.
CREATE INDEX access_tokens_refreshed ON access_tokens (refreshed_from) WHERE refreshed_from IS NOT NULL;
CREATE INDEX refresh_tokens_successor ON refresh_tokens (successor) WHERE successor IS NOT NULL;
