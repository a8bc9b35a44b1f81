//! Tables, transactions and positions of a Starling homeserver, on SQLite and PostgreSQL.
